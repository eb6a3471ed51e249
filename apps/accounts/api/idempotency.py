"""Where apps above take `Idempotency-Key` from; how it works is in core, so that apps below can take it too."""

from apps.core.idempotency import idempotent

__all__ = ["idempotent"]
