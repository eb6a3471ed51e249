"""REST door of datasets and of OpenLineage."""

from typing import Any

from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import Filter, View, listed, operation
from apps.registry import services
from apps.registry.api.shared import version_of, whole
from apps.registry.models import Dataset, GovernedDataset
from apps.registry.rules import datasets as rules
from apps.registry.rules.openlineage import EVENT_TYPES
from apps.registry.selectors import datasets as reads


class DatasetSerializer(serializers.ModelSerializer):
    """One version of a dataset, as a run or an event named it."""

    class Meta:
        model = Dataset
        fields = ["id", "name", "digest", "source_type", "source", "schema", "profile", "created_at"]


class DatasetRowSerializer(serializers.Serializer):
    """A dataset in the list, by its name."""

    name = serializers.CharField(source="newest.name")
    newest_id = serializers.UUIDField(source="newest.id")
    newest_digest = serializers.CharField(source="newest.digest")
    versions = serializers.IntegerField()
    models = serializers.IntegerField(help_text="registered models whose runs read it")
    sensitivity = serializers.CharField(source="governed.sensitivity", default="")
    owner = serializers.EmailField(source="governed.owner.email", default=None)


class GovernedSerializer(serializers.ModelSerializer):
    """What holds for all versions of a dataset."""

    owner = serializers.EmailField(source="owner.email", default=None)

    class Meta:
        model = GovernedDataset
        fields = [
            "name", "description", "owner", "permissions", "licence", "retention", "sensitivity", "revision", "updated_by", "updated_at",
        ]  # fmt: skip


class GovernFormSerializer(serializers.Serializer):
    """Fields to save; those left out stay. `revision`: the one you read."""

    description = serializers.CharField(required=False, allow_blank=True, max_length=4000)
    permissions = serializers.CharField(
        required=False, allow_blank=True, max_length=4000, help_text="what may be done with it, and by whom"
    )
    licence = serializers.CharField(required=False, allow_blank=True, max_length=200)
    retention = serializers.CharField(required=False, allow_blank=True, max_length=1000, help_text="how long it is kept")
    sensitivity = serializers.ChoiceField(rules.SENSITIVITIES, required=False, allow_blank=True)
    owner_email = serializers.EmailField(required=False, allow_blank=True)
    revision = serializers.IntegerField(required=False, min_value=0)


class UseSerializer(serializers.Serializer):
    """A model version that saw the dataset."""

    model = serializers.CharField(source="version.model.name")
    version = serializers.IntegerField(source="version.version")
    run_id = serializers.CharField(source="version.run_id")
    artifact_digest = serializers.CharField(source="version.artifact_digest")
    contexts = serializers.ListField(child=serializers.CharField())
    datasets = serializers.SerializerMethodField()
    in_production = serializers.BooleanField(help_text="a live decision admits its files to production")

    def get_datasets(self, use: Any) -> list[str]:
        """Digests of the versions of the dataset it saw."""
        return [d.digest for d in use.datasets]


class RunEventSerializer(serializers.Serializer):
    """An OpenLineage run event; its own specification says what each part holds."""

    eventType = serializers.ChoiceField(EVENT_TYPES, required=False)
    eventTime = serializers.CharField(required=False)
    run = serializers.JSONField(required=False)
    job = serializers.JSONField(required=False)
    inputs = serializers.JSONField(required=False)
    outputs = serializers.JSONField(required=False)
    producer = serializers.CharField(required=False)
    schemaURL = serializers.CharField(required=False)


class ReceivedSerializer(serializers.Serializer):
    """What became of an event."""

    digest = serializers.CharField()
    run_id = serializers.CharField()
    accepted = serializers.BooleanField(help_text="false: it was there already")


class DatasetsView(View):
    """Datasets by name."""

    filters = {"search": Filter("Part of the name.")}

    @operation(responses=listed(DatasetRowSerializer), operation_id="datasets_list")
    def get(self, request: Request) -> Response:
        """List the datasets that runs of models you may see have read, at most 200."""
        rows = reads.listed(actor_of(request), search=request.query_params.get("search", ""))
        return whole(DatasetRowSerializer(rows, many=True).data)


class DatasetView(View):
    """One dataset."""

    @operation(responses={200: dict})
    def get(self, request: Request, dataset_id: Any) -> Response:
        """Read a dataset with its versions and what holds for all of them.

        `dataset` is the version asked for, `versions` all of that name, `governed` what people say of them, `missing` what nobody said.
        """
        return Response(self._told(request, dataset_id))

    @operation(request=GovernFormSerializer, responses={200: dict})
    @durable
    def patch(self, request: Request, dataset_id: Any) -> Response:
        """Change what holds for a dataset: permissions, licence, retention, sensitivity, owner."""
        services.govern_dataset(actor=actor_of(request), dataset_id=dataset_id, **given(GovernFormSerializer, request))
        return Response(self._told(request, dataset_id))

    @staticmethod
    def _told(request: Request, dataset_id: Any) -> dict[str, Any]:
        found = reads.dataset(actor_of(request), dataset_id)
        governed = reads.governed(found.name)
        return {
            "dataset": DatasetSerializer(found).data,
            "versions": DatasetSerializer(reads.siblings(actor_of(request), found), many=True).data,
            "governed": GovernedSerializer(governed).data,
            "missing": rules.missing(governed),
        }


class DatasetUsesView(View):
    """Which model versions saw a dataset."""

    filters = {
        "production": Filter("true: only those a live decision admits to production; false: only the others.", bool),
        "this_version": Filter("true: only this very version of the dataset; else all versions of its name.", bool),
    }

    @operation(responses=listed(UseSerializer))
    def get(self, request: Request, dataset_id: Any) -> Response:
        """List the model versions that saw a dataset, newest first."""
        actor = actor_of(request)
        found = reads.dataset(actor, dataset_id)
        datasets = [found] if request.query_params.get("this_version") == "true" else reads.siblings(actor, found)
        wanted = request.query_params.get("production")
        rows = reads.uses(actor, datasets, production=None if not wanted else wanted == "true")
        return whole(UseSerializer(rows, many=True).data)


class OpenLineageView(View):
    """Lineage that other tools report."""

    @operation(request=RunEventSerializer, responses={201: ReceivedSerializer, 200: ReceivedSerializer})
    @durable
    def post(self, request: Request) -> Response:
        """Send an OpenLineage run event; the same dataset and run are joined once."""
        row, new = services.accept_openlineage(actor=actor_of(request), event=request.data)
        answer = ReceivedSerializer({"digest": row.digest, "run_id": row.run_id, "accepted": new}).data
        return Response(answer, status=status.HTTP_201_CREATED if new else status.HTTP_200_OK)


class OpenLineageExportView(View):
    """A version's lineage for other tools."""

    @operation(responses={200: list[dict]})
    def get(self, request: Request, name: str, number: int) -> Response:
        """Read the lineage of a model version as OpenLineage run events."""
        return Response(reads.openlineage_events(version_of(request, name, number)))
