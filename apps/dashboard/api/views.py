"""REST door of what is composed across apps."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import actor_of
from apps.core.rest import View, listed, operation
from apps.dashboard import selectors_lineage as lineages
from apps.dashboard import selectors_timeline as timelines
from apps.registry import selectors
from apps.registry.api.shared import version_of, whole
from apps.registry.selectors import datasets


class VersionLineageView(View):
    """Where a version comes from and where it went."""

    @operation(responses={200: dict})
    def get(self, request: Request, name: str, number: int) -> Response:
        """Read the graph from the datasets of a model version to its predictions.

        `nodes` (dataset, run, version, deployment, predictions) and `edges` (from, to, how); deployments are those you may see.
        """
        actor = actor_of(request)
        return Response(lineages.of_version(actor, selectors.version(actor, name, number)).as_dict())


class DatasetLineageView(View):
    """Where a dataset went."""

    @operation(responses={200: dict})
    def get(self, request: Request, dataset_id: Any) -> Response:
        """Read the graph from all versions of a dataset to the predictions that rest on it.

        `cut` is true when more than 40 model versions saw it: the newest are shown.
        """
        actor = actor_of(request)
        found = datasets.dataset(actor, dataset_id)
        return Response(lineages.of_datasets(actor, datasets.siblings(actor, found), found).as_dict())


class MomentSerializer(serializers.Serializer):
    """Something that happened to a version."""

    at = serializers.DateTimeField()
    kind = serializers.CharField(help_text="registered, card, scan, evaluation, alias, finding, gate, decision or deployment")
    what = serializers.CharField()
    who = serializers.CharField()


class RightsSerializer(serializers.Serializer):
    """What one person may do with a version's model."""

    person = serializers.EmailField(source="person.email")
    may = serializers.DictField(child=serializers.BooleanField())
    why = serializers.CharField()


class TimelineView(View):
    """What happened to a version."""

    @operation(responses=listed(MomentSerializer))
    def get(self, request: Request, name: str, number: int) -> Response:
        """List what happened to a model version, newest first."""
        return whole(MomentSerializer(timelines.timeline(actor_of(request), version_of(request, name, number)), many=True).data)


class RightsView(View):
    """Who may do what with a version."""

    @operation(responses=listed(RightsSerializer))
    def get(self, request: Request, name: str, number: int) -> Response:
        """List who may do what with a model version and why, of the first 40 people by name."""
        people, _ = timelines.who_may(actor_of(request), version_of(request, name, number))
        return whole(RightsSerializer(people, many=True).data)
