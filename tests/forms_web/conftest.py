"""A portal with one of everything, and browsers of those who work with it."""

from datetime import date
from types import SimpleNamespace

import pytest

from tests.approvals.conftest import policies  # noqa: F401
from tests.deployments_web.conftest import (  # noqa: F401
    agent,
    control,
    decide,
    elena,
    endpoints,
    engineer,
    linked,
    order_key_file,
    page_of,
    rate_card,
    stage,
    trail_begins,
    usecase,
    versions,
)


@pytest.fixture
def world(stage, linked, decide, elena, make_user, usecase, versions, policies):  # noqa: F811
    """Two versions on a pilot endpoint, a third that may come, a KPI, an incident, a gate in preparation and a draft's items."""
    from apps.approvals import services as approvals
    from apps.deployments import services as deployments
    from apps.kpis import services as kpis
    from apps.monitoring import services as monitoring
    from apps.usecases import services as usecases

    usecases.add_integration(actor=elena, usecase_id=usecase.id, name="Register", direction="in", owner="", note="")
    live = stage.live(1)
    new = stage.live(2)
    decide(3, "pilot")
    kpi = kpis.define_kpi(
        actor=elena,
        usecase_id=usecase.id,
        name="Cost",
        dimension="business",
        unit="USD",
        direction="lower",
        aggregation="ratio",
        primary=True,
    )
    incident = monitoring.open_incident(
        actor=elena, endpoint_id=live.endpoint_id, severity="high", title="Odd answers", detail="Seen.", hold=False
    )
    phase = usecases.plan_phase(
        actor=elena, usecase_id=usecase.id, name="claims", departments=["Claims"], planned_on=date(2026, 12, 1), entry_criteria="Trained."
    )
    key, _ = deployments.issue_key(actor=elena, endpoint_id=live.endpoint_id, name="claims")
    monitor = monitoring.create_monitor(actor=elena, endpoint_id=live.endpoint_id, kind="latency", config={"p99_ms": 50})
    gate = approvals.open_gate(actor=elena, usecase_id=usecase.id, to_stage="poc", note="Please.")
    return SimpleNamespace(
        usecase=usecase, endpoint=live.endpoint, standby=live, live=new, kpi=kpi, incident=incident, gate=gate, key=key, monitor=monitor,
        version=versions(3), phase=phase,
    )  # fmt: skip
