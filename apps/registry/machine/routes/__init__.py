"""The allow-list of the governed MLflow endpoint: what is not here is refused.

One line for each address of the installed MLflow server: admitted (tracking.py, registry.py, traces.py, reviews.py) or refused by name
(refused.py). A test compares both with the server's own table, so that an upgrade which adds an address fails the suite.
Addresses are written once, with `/api`; MLflow serves most of them under `/ajax-api` too.
"""

from apps.registry.machine.routes import refused, registry, reviews, traces, tracking
from apps.registry.machine.routes.table import READ, WRITE, Route

__all__ = ["READ", "ROUTES", "WRITE", "Route", "match", "unprefixed", "upstream", "why_refused"]

ROUTES: tuple[Route, ...] = tracking.ROUTES + registry.ROUTES + traces.ROUTES + reviews.ROUTES
AJAX, API = "/ajax-api/", "/api/"

_EXACT = {(r.method, r.pattern): r for r in ROUTES if r.regex is None}
_NAMED = [r for r in ROUTES if r.regex is not None]


def unprefixed(path: str) -> str:
    """The path as the list writes it: with `/api` in place of `/ajax-api`."""
    return API + path[len(AJAX) :] if path.startswith(AJAX) else path


def match(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The admitted route of a normal path and the parts it names, or None."""
    plain = unprefixed(path)
    route = _EXACT.get((method, plain))
    if route is not None:
        return (route, {}) if route.served != "ajax" or path.startswith(AJAX) else None
    if (method, plain) in refused.EXACT:
        return None
    for route in _NAMED:
        if route.method == method and (found := route.regex.fullmatch(plain)):  # type: ignore[union-attr]
            return (route, found.groupdict()) if route.served != "ajax" or path.startswith(AJAX) else None
    return None


def upstream(route: Route, path: str) -> str:
    """Where the request goes: always the same of MLflow's two addresses."""
    plain = unprefixed(path)
    return AJAX + plain[len(API) :] if route.served == "ajax" else plain


def why_refused(method: str, path: str) -> tuple[int, str]:
    """Status and sentence for a path that is not on the list."""
    return refused.why(method, unprefixed(path))
