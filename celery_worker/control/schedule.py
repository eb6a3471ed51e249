"""What control does by the clock. Messages make things quick; this makes them certain."""

from typing import Any

from django.conf import settings

DISCOVER_EVERY_S = 300.0
SWEEP_EVERY_S = 60.0
SWEEP_ACCOUNTS_EVERY_S = 600.0
REMIND_EVERY_S = 600.0
WATCH_EVIDENCE_EVERY_S = 60.0
PREPARE_EVERY_S = 3.0
CHECK_HISTORY_EVERY_S = 600.0


def entries() -> dict[str, dict[str, Any]]:
    """Celery beat's schedule. An entry that waited longer than its own period is dropped: the next one does the same."""
    every = {
        "reconcile_all": settings.RECONCILE_EVERY_S,
        "run_monitors": settings.MONITOR_EVERY_S,
        "meter_costs": settings.COST_EVERY_S,
        "discover_models": DISCOVER_EVERY_S,
        "deliver_notices": settings.NOTICES_EVERY_S,
        "sweep": SWEEP_EVERY_S,
        "remind": REMIND_EVERY_S,
        "watch_evidence": WATCH_EVIDENCE_EVERY_S,
        "prepare_packs": PREPARE_EVERY_S,
        "check_history": CHECK_HISTORY_EVERY_S,
        "sweep_accounts": SWEEP_ACCOUNTS_EVERY_S,
    }
    return {
        name: {"task": f"control.{name}", "schedule": seconds, "options": {"queue": "control", "expires": max(1.0, seconds)}}
        for name, seconds in every.items()
    }
