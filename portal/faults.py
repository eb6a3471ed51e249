"""The one named point inside web at which a fault test may kill it. In the settings only when GATEHOUSE_FAULT_FILE is set."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from celery_worker import faults


class KillBeforeAnswer:
    """Die after the view has committed and before its answer leaves, if a test asks for it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The view's answer, if this process lives to give it."""
        response = self.get_response(request)
        faults.reach("web.committed", f"{request.method} {request.path}")
        return response
