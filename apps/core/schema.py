"""The OpenAPI schema: what every operation has without saying so."""

from typing import Any
from uuid import UUID

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS

from apps.core import errors

REFUSALS = {
    400: errors.Invalid, 401: errors.SignInNeeded, 403: errors.NotAllowed, 404: errors.NotFound, 409: errors.Conflict,
    410: errors.Expired, 429: errors.TooMany, 502: errors.UpstreamFailed,
}  # fmt: skip
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER,
    description="At most 100 characters of your choice. The same key with the same body gets the first answer again and does nothing.",
)  # fmt: skip


class ProblemSerializer(serializers.Serializer):
    """A refusal (RFC 9457)."""

    type = serializers.CharField(help_text="urn:gatehouse:problem: and the code")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="what was refused, and what to do next")
    code = serializers.CharField(help_text="the same refusal has the same code")
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()), required=False, help_text="field -> sentences"
    )


class Schema(AutoSchema):
    """Summary from the docstring, tag from the address, parameters from the view, refusals from what the operation does."""

    def _method(self) -> Any:
        return getattr(self.view, self.method.lower(), None)

    def _lines(self) -> list[str]:
        text = (getattr(self._method(), "__doc__", "") or "").strip() or getattr(self.view, "lists", "")
        return [line.strip() for line in text.splitlines()]

    def get_tags(self) -> list[str]:
        """The noun: the first part of the address."""
        return [self.path.removeprefix("/api/v1/").split("/")[0]]

    def get_operation_id(self) -> str:
        """As the framework names it; whole lists are lists too."""
        made = str(super().get_operation_id())
        return f"{made.removesuffix('retrieve')}list" if getattr(self._method(), "whole", False) and made.endswith("retrieve") else made

    def get_summary(self) -> str | None:
        """The first line."""
        return next(iter(self._lines()), None)

    def get_description(self) -> str:  # type: ignore[override]
        """The rest, if there is any."""
        return " ".join(line for line in self._lines()[1:] if line)

    def get_override_parameters(self) -> list[Any]:
        """The view's query parameters, and the key of posts that may be sent twice."""
        # A list's own pagination says its parameters itself.
        paged = getattr(self.view, "lists", "") and self.method in SAFE_METHODS
        own = getattr(self.view, "filters", {}) if paged else self.view.known_query(self.method) if hasattr(self.view, "known_query") else {}
        found: list[Any] = [
            OpenApiParameter(
                name, f.kind if f.kind in (int, bool, UUID) else str, required=f.needed, description=f.text, enum=f.choices or None
            )
            for name, f in own.items()
        ]
        return [*found, IDEMPOTENCY_KEY] if getattr(self._method(), "is_idempotent", False) else found

    def _get_format_parameters(self) -> list[Any]:
        """None: the Accept header says it."""
        return []

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """As the framework makes it, with the refusals."""
        made = super().get_operation(*args, **kwargs)
        if made is None:
            return None
        problem = self.resolve_serializer(ProblemSerializer, "response").ref
        for status in sorted(self._refusals()):
            refusal: dict[str, Any] = {"content": {"application/problem+json": {"schema": problem}}, "description": REFUSALS[status].title}
            if status == 401:
                refusal["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
            if status == 429:
                refusal["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
            made["responses"][str(status)] = refusal
        return made

    def _refusals(self) -> set[int]:
        method = self._method()
        found = {400, 401, 403, *getattr(method, "refuses", ())}
        if "{" in self.path or any(f.names for f in getattr(self.view, "filters", {}).values() if self.method in SAFE_METHODS):
            found.add(404)
        if getattr(method, "is_idempotent", False):
            found.add(409)
        return found
