"""What every page view starts with: a signed-in person, as an Actor."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.accounts import selectors


def page(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Send visitors to the sign-in page; set `request.actor` for the rest."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        request.actor = selectors.actor_from_user(request.user, request=request)  # type: ignore[attr-defined,arg-type]
        return view(request, *args, **kwargs)

    return wrapper
