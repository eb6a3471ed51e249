"""Lines for the person at the terminal: what happens, and how many seconds it has taken."""

import sys
import time
from collections.abc import Callable

Say = Callable[[str], None]

_started = time.monotonic()


def say(text: str) -> None:
    """Print one progress line with the seconds since the launcher began."""
    print(f"[{time.monotonic() - _started:6.1f} s] {text}", flush=True)


def quiet(text: str) -> None:
    """A `Say` that prints nothing, for tests."""


class Refusal(Exception):
    """Gatehouse cannot go on; the text says why and what to do. The launcher prints it and exits with 2."""


def explain(error: BaseException) -> None:
    """Print a refusal to standard error."""
    print(f"\ngatehouse: {error}", file=sys.stderr, flush=True)
