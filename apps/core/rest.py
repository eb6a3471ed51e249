"""The base of every REST view: what an operation takes and refuses is declared once, checked here and read by the schema."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import exceptions, generics, serializers
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.api import KeysetPagination, wrong
from apps.core.forms import check_names

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Filter:
    """One query parameter: what it means, what it takes, and whether it names a thing that may not be there (then 404)."""

    text: str
    kind: type = str
    choices: tuple[str, ...] = ()
    needed: bool = False
    least: int = 0
    names: bool = False

    def check(self, name: str, value: str) -> None:
        """Raise Invalid naming the parameter when the value is none that it takes."""
        if self.choices and value not in self.choices:
            raise wrong(name, f"choose one of {', '.join(self.choices)}.")
        if self.kind is bool and value not in ("true", "false"):
            raise wrong(name, "give true or false.")
        if self.kind is int and not (value.isascii() and value.isdigit() and len(value) < 19 and int(value) >= self.least):
            raise wrong(name, f"give a whole number of {self.least} or more.")
        if self.kind is UUID:
            try:
                UUID(value)
            except ValueError as error:
                raise wrong(name, "give an id such as 0190f3c2-7b1e-7c3a-9d54-2f6b8a1c0e77.") from error


PAGES: Mapping[str, Filter] = {
    "cursor": Filter("Where to go on: from `next` or `previous` of an answer."),
    "page_size": Filter(f"How many rows, 1 to {KeysetPagination.max_page_size}; {KeysetPagination.page_size} without it."),
}
WHOLE: Mapping[str, Filter] = {"page_size": Filter("As on every list; this one comes whole, in one page.", int, least=1)}
USECASE = Filter("Id or slug of a use case.", names=True)
ENDPOINT = Filter("Id or slug of an endpoint.", names=True)


def operation(
    *, responses: Any, request: type[serializers.BaseSerializer[Any]] | None = None, refuses: tuple[int, ...] = (), **options: Any
) -> Callable[[Method], Method]:
    """Decorate a view's method, outermost: the body it takes (None: it takes none), what it answers, with what it may refuse.

    The first line of the method's docstring is the operation's summary. 400, 401, 403, 404 for what the address names and 409 for
    writes are known without being said; `refuses` adds others.
    """

    def decorate(method: Method) -> Method:
        method.takes, method.refuses, method.whole = request, refuses, getattr(responses, "whole", False)  # type: ignore[attr-defined]
        return extend_schema(request=request, responses=responses, **options)(method)

    return decorate


def listed(form: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """What a whole list answers: `results`, and `next`, which is null."""
    name = form.__name__.removesuffix("Serializer")
    made = inline_serializer(f"All{name}", {"results": form(many=True), "next": serializers.CharField(allow_null=True)})
    made.whole = True  # type: ignore[attr-defined]
    return made


class View(APIView):
    """Every REST view: refuses query parameters and body fields it does not know, so that a typing mistake is not lost."""

    filters: ClassVar[Mapping[str, Filter]] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """After sign-in and scope, before the method itself."""
        super().initial(request, *args, **kwargs)
        method = str(request.method).lower()
        self.check_query(request)
        if request.method not in SAFE_METHODS and hasattr(self, method):
            check_names(getattr(getattr(self, method), "takes", None), request.data)

    def known_query(self, method: str) -> Mapping[str, Filter]:
        """Query parameters of a method by name."""
        whole = WHOLE if getattr(getattr(self, "get", None), "whole", False) else {}
        return {**self.filters, **whole} if method in SAFE_METHODS else {}

    def check_query(self, request: Request) -> None:
        """Raise Invalid naming the parameter that is unknown, given twice or takes something else."""
        known = self.known_query(str(request.method))
        for name, values in request.query_params.lists():
            if name not in known:
                remedy = f"known here: {', '.join(known)}." if known else "this operation takes no query parameter."
                raise wrong(name[:100], f"not a query parameter; {remedy}")
            if len(values) > 1:
                raise wrong(name, "give it once.")
            if values[0]:
                known[name].check(name, values[0])
        for name, wanted in known.items():
            if wanted.needed and not request.query_params.get(name):
                raise wrong(name, f"needed. {wanted.text}")

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """Say which methods there are."""
        raise exceptions.MethodNotAllowed(
            str(request.method), f"{request.method} is not possible here. Possible: {', '.join(self.allowed_methods)}."
        )


class ListView(View, generics.ListAPIView):
    """A list, page by page; `lists` is its summary."""

    lists: ClassVar[str] = ""

    def known_query(self, method: str) -> Mapping[str, Filter]:
        """The view's own and those of pages."""
        return {**self.filters, **PAGES} if method in SAFE_METHODS else {}
