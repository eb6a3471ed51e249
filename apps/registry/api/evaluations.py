"""REST door of evaluations and bias audits."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.api.idempotency import idempotent
from apps.core.api import actor_of
from apps.registry import services
from apps.registry.api.shared import StrictSerializer, version_of
from apps.registry.models import Evaluation
from apps.registry.rules.evaluations import SCHEMA
from apps.registry.selectors import evaluations as reads


class EvaluationSerializer(serializers.ModelSerializer):
    """What is attached: the document as it was given, its digest, and what the portal computed from it."""

    dataset = serializers.SerializerMethodField()

    class Meta:
        model = Evaluation
        fields = [
            "id", "kind", "name", "source", "dataset", "artifact_digest", "document", "digest", "figures", "attached_by", "attached_at",
            "superseded_by",
        ]  # fmt: skip

    def get_dataset(self, row: Evaluation) -> dict[str, str] | None:
        """Name and digest of the data, when it names one."""
        return {"id": str(row.dataset.id), "name": row.dataset.name, "digest": row.dataset.digest} if row.dataset else None


class DataSerializer(StrictSerializer):
    """A dataset the registry knows."""

    name = serializers.CharField(max_length=500)
    digest = serializers.CharField(max_length=64)


class FromRunSerializer(StrictSerializer):
    """Which metrics of the run to take."""

    name = serializers.CharField(max_length=200)
    prefix = serializers.CharField(required=False, allow_blank=True, max_length=200, help_text="Beginning of their names, such as val_.")
    task = serializers.CharField(required=False, allow_blank=True, max_length=200)
    dataset = DataSerializer(required=False)


class EvaluationsView(APIView):
    """Evaluations and bias audits of a version."""

    @extend_schema(responses=EvaluationSerializer(many=True))
    def get(self, request: Request, name: str, number: int) -> Response:
        """Those in force first; superseded ones stay readable."""
        return Response(EvaluationSerializer(reads.of_version(version_of(request, name, number)), many=True).data)

    @extend_schema(request=dict, responses={201: EvaluationSerializer})
    @idempotent
    def post(self, request: Request, name: str, number: int) -> Response:
        """Attach a document in the schema of `evaluation-schema/`. One of the same kind and name is superseded by it."""
        version = version_of(request, name, number)
        row = services.attach_evaluation(actor=actor_of(request), version_id=version.id, document=request.data)
        return Response(EvaluationSerializer(row).data, status=status.HTTP_201_CREATED)


class FromRunView(APIView):
    """An evaluation made of the run's own metrics."""

    @extend_schema(request=FromRunSerializer, responses={201: EvaluationSerializer})
    @idempotent
    def post(self, request: Request, name: str, number: int) -> Response:
        """Attach what mlflow.evaluate logged."""
        form = FromRunSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        version = version_of(request, name, number)
        row = services.attach_from_run(actor=actor_of(request), version_id=version.id, **form.validated_data)
        return Response(EvaluationSerializer(row).data, status=status.HTTP_201_CREATED)


class EvaluationView(APIView):
    """One evaluation or bias audit."""

    @extend_schema(responses=EvaluationSerializer)
    def get(self, request: Request, evaluation_id: Any) -> Response:
        """The document, its digest and its figures."""
        return Response(EvaluationSerializer(reads.evaluation(actor_of(request), evaluation_id)).data)


class SchemaView(APIView):
    """What a document looks like."""

    @extend_schema(responses={200: dict})
    def get(self, request: Request) -> Response:
        """JSON Schema (draft 2020-12)."""
        return Response(SCHEMA)
