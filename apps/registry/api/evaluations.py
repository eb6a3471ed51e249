"""REST door of evaluations and bias audits."""

from typing import Any

from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.api.idempotency import idempotent
from apps.core.api import actor_of
from apps.core.forms import given
from apps.core.rest import View, listed, operation
from apps.registry import services
from apps.registry.api.shared import version_of, whole
from apps.registry.models import Evaluation
from apps.registry.models.evaluations import EVALUATION_KINDS
from apps.registry.rules.evaluations import SCHEMA
from apps.registry.selectors import evaluations as reads


class ModelEvaluationSerializer(serializers.ModelSerializer):
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


class DocumentSerializer(serializers.Serializer):
    """An evaluation or bias audit; `evaluation-schema/` says what each part holds."""

    kind = serializers.ChoiceField(EVALUATION_KINDS)
    name = serializers.CharField(max_length=200)
    task = serializers.CharField(required=False, max_length=200)
    note = serializers.CharField(required=False, max_length=2000)
    dataset = serializers.JSONField(required=False)
    metrics = serializers.JSONField(required=False)
    groups = serializers.JSONField(required=False)
    reference = serializers.JSONField(required=False)


class DataSerializer(serializers.Serializer):
    """A dataset the registry knows."""

    name = serializers.CharField(max_length=500)
    digest = serializers.CharField(max_length=64)


class FromRunSerializer(serializers.Serializer):
    """Which metrics of the run to take."""

    name = serializers.CharField(max_length=200)
    prefix = serializers.CharField(required=False, allow_blank=True, max_length=200, help_text="Beginning of their names, such as val_.")
    task = serializers.CharField(required=False, allow_blank=True, max_length=200)
    dataset = DataSerializer(required=False)


class EvaluationsView(View):
    """Evaluations and bias audits of a version."""

    @operation(responses=listed(ModelEvaluationSerializer))
    def get(self, request: Request, name: str, number: int) -> Response:
        """List the evaluations and bias audits of a model version, those in force first."""
        return whole(ModelEvaluationSerializer(reads.of_version(version_of(request, name, number)), many=True).data)

    @operation(request=DocumentSerializer, responses={201: ModelEvaluationSerializer})
    @idempotent
    def post(self, request: Request, name: str, number: int) -> Response:
        """Attach an evaluation or bias audit to a model version.

        In the schema of `evaluation-schema/`. One of the same kind and name is superseded by it.
        """
        version = version_of(request, name, number)
        row = services.attach_evaluation(actor=actor_of(request), version_id=version.id, document=request.data)
        return Response(ModelEvaluationSerializer(row).data, status=status.HTTP_201_CREATED)


class FromRunView(View):
    """An evaluation made of the run's own metrics."""

    @operation(request=FromRunSerializer, responses={201: ModelEvaluationSerializer})
    @idempotent
    def post(self, request: Request, name: str, number: int) -> Response:
        """Attach the metrics that a model version's own run logged as an evaluation."""
        version = version_of(request, name, number)
        row = services.attach_from_run(actor=actor_of(request), version_id=version.id, **given(FromRunSerializer, request))
        return Response(ModelEvaluationSerializer(row).data, status=status.HTTP_201_CREATED)


class EvaluationView(View):
    """One evaluation or bias audit."""

    @operation(responses=ModelEvaluationSerializer)
    def get(self, request: Request, evaluation_id: Any) -> Response:
        """Read one evaluation with its document, digest and figures."""
        return Response(ModelEvaluationSerializer(reads.evaluation(actor_of(request), evaluation_id)).data)


class SchemaView(View):
    """What a document looks like."""

    @operation(responses={200: dict})
    def get(self, request: Request) -> Response:
        """Read the JSON Schema (draft 2020-12) of evaluations and bias audits."""
        return Response(SCHEMA)
