"""REST door of what is composed across apps."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import actor_of
from apps.core.rest import View, operation
from apps.dashboard import selectors_lineage as lineages
from apps.registry import selectors
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
