"""REST door of the comparison of versions."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import actor_of
from apps.core.rest import Filter, View, operation
from apps.registry.rules.compare import FigureRow, Row
from apps.registry.selectors.compare import Comparison, compare


class CompareView(View):
    """Versions of one model side by side."""

    filters = {"versions": Filter("2 to 4 different version numbers, such as 1,2.", needed=True, names=True)}

    @operation(responses={200: dict})
    def get(self, request: Request, name: str) -> Response:
        """Compare two to four versions of a registered model.

        Facts, parameters, metrics, data, requirements, signature, evaluations and card; the first version is what others are compared with.
        """
        return Response(as_json(compare(actor_of(request), name, request.query_params.get("versions", "").split(","))))


def as_json(found: Comparison) -> dict[str, Any]:
    """Rows by name; `same` says whether all versions agree."""
    return {
        "versions": [{"version": v.version, "artifact_digest": v.artifact_digest, "synced_at": v.synced_at} for v in found.versions],
        **{part: [_row(r) for r in getattr(found, part)] for part in ("facts", "params", "data", "requirements", "signature")},
        **{part: [_figures(r) for r in getattr(found, part)] for part in ("metrics", "evaluations")},
        "card": [{"field": p.field, "same": p.same, "first": p.first, "others": p.others} for p in found.card],
    }


def _row(row: Row) -> dict[str, Any]:
    return {"name": row.name, "values": row.values, "same": row.same}


def _figures(row: FigureRow) -> dict[str, Any]:
    values = [v and {k: v.get(k) for k in ("value", "low", "high", "n")} for v in row.values]
    return {
        "name": row.name, "values": values, "differences": row.differences, "verdicts": row.verdicts, "intervals_apart": row.clear,
        "better": row.better,
    }  # fmt: skip
