"""REST door of the search."""

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import actor_of
from apps.core.rest import Filter, View, listed, operation
from apps.registry.api.shared import whole
from apps.registry.selectors.search import search


class HitSerializer(serializers.Serializer):
    """Something found."""

    kind = serializers.CharField(help_text="model, version, card, failure mode or dataset")
    title = serializers.CharField()
    text = serializers.CharField()
    rank = serializers.FloatField()
    model = serializers.CharField()
    version = serializers.IntegerField(allow_null=True)
    dataset_id = serializers.UUIDField(allow_null=True)
    failure_id = serializers.UUIDField(allow_null=True)


class SearchView(View):
    """One search over the registry."""

    filters = {"q": Filter("Words, all of which are to be found; each may be the beginning of one.", needed=True)}

    @operation(responses=listed(HitSerializer), operation_id="registry_search")
    def get(self, request: Request) -> Response:
        """Search models, versions, tags, cards, failure modes and datasets you may see, best first."""
        return whole(HitSerializer(search(actor_of(request), request.query_params["q"]), many=True).data)
