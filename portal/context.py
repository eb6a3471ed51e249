"""What the frame of every page needs."""

from django.http import HttpRequest


def frame(request: HttpRequest) -> dict[str, object]:
    """The signed-in person's places in the rail, with counts; empty when nobody is signed in."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"places": []}
    from apps.dashboard.selectors import places

    return {"places": places(request)}
