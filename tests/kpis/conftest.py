"""A use case with KPIs and rows to measure them with."""

from datetime import UTC, datetime, timedelta

import pytest

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def owner(make_user):
    return make_user("stakeholder", name="Olga Owner")


@pytest.fixture
def usecase(owner, actor_of):
    from apps.registry.models import ModelVersion, RegisteredModel
    from apps.usecases import services
    from apps.usecases.models import UsedModel

    made = services.create_usecase(
        actor=actor_of(owner), name="Care outreach", problem="Calls reach the wrong members.", risk_tier="high", currency="USD"
    )
    model = RegisteredModel.objects.create(name="outreach")
    for number in (1, 2):
        ModelVersion.objects.create(
            model=model, version=number, run_id=f"r{number}", status="ready", artifact_digest=f"sha256:{number:064d}"
        )
    UsedModel.objects.create(usecase=made, model=model)
    return made


@pytest.fixture
def define(usecase, owner, actor_of):
    from apps.kpis import services

    def make(**changed):
        given = {
            "name": "Cost per 1,000 decisions", "dimension": "business", "unit": "USD", "direction": "lower", "aggregation": "ratio",
            "scale": 1000.0, "target": 8000.0, "floor": 10000.0, "primary": True,
        } | changed  # fmt: skip
        return services.define_kpi(actor=actor_of(owner), usecase_id=usecase.id, **given)

    return make


@pytest.fixture
def rows():
    """rows([cost, ...]) -> a row a day, 100 decisions each, cost in USD a decision."""

    def make(costs, *, start=0, version="", prefix="r", n=100):
        return [
            {
                "period_start": (START + timedelta(days=start + i)).isoformat(),
                "period_end": (START + timedelta(days=start + i + 1)).isoformat(),
                "numerator": cost * n, "denominator": n, "n": n, "version_label": version, "external_id": f"{prefix}-{start}-{i}",
            }
            for i, cost in enumerate(costs)
        ]  # fmt: skip

    return make


@pytest.fixture
def measured(define, rows, owner, actor_of):
    """A ratio KPI with 20 days at about 10 USD frozen, then 20 days of outreach/1 at about 7 USD."""
    import numpy as np

    from apps.kpis import services

    actor, kpi, rng = actor_of(owner), define(), np.random.default_rng(1)
    services.record_measurements(actor=actor, kpi_id=kpi.id, rows=rows(rng.normal(10, 0.5, 20).round(4).tolist()))
    services.freeze_baseline(actor=actor, kpi_id=kpi.id, period_start=START, period_end=START + timedelta(days=20))
    services.record_measurements(
        actor=actor, kpi_id=kpi.id, rows=rows(rng.normal(7, 0.5, 20).round(4).tolist(), start=20, version="outreach/1")
    )
    return kpi
