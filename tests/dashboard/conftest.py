"""A use case with its people and KPIs, and browsers that are signed in."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from tests.approvals.conftest import at_stage, business, engineer, owner, policies, risk, security, usecase, version  # noqa: F401

T0 = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def page_of(db: Any) -> Callable[[Any], Client]:
    """page_of(user) -> a browser in which the user is signed in."""

    def browser(user: Any) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return browser


@pytest.fixture
def answering(usecase, version):  # noqa: F811
    """answering("pilot", "outreach/1") -> a deployment that answers all callers there."""
    from apps.core.ids import new_id
    from apps.deployments.models import Deployment, Endpoint, Host

    def make(environment: str, label: str, weight: int = 100) -> Deployment:
        host, _ = Host.objects.get_or_create(name="local", defaults={"public_key": "k", "key_id": "k"})
        endpoint, _ = Endpoint.objects.get_or_create(
            slug=f"outreach-{environment}", defaults={"usecase": usecase, "name": f"Outreach {environment}", "environment": environment}
        )
        return Deployment.objects.create(
            endpoint=endpoint, model_version=version.model.versions.get(version=int(label.rpartition("/")[2])), model_version_label=label,
            artifact_digest=version.artifact_digest, decision_id=new_id(), host=host, desired="running", weight=weight,
        )  # fmt: skip

    return make


@pytest.fixture
def kpi(usecase, owner, actor_of):  # noqa: F811
    """Cost per 1,000 decisions: a ratio, lower is better, target 400, floor 540."""
    from apps.kpis import services

    return services.define_kpi(
        actor=actor_of(owner), usecase_id=usecase.id, name="Cost per 1,000 decisions", dimension="business", unit="EUR", direction="lower",
        aggregation="ratio", scale=1000.0, target=420.0, floor=540.0, primary=True, cadence="weekly",
    )  # fmt: skip


def weeks(count: int, level: float, *, start: datetime = T0, label: str = "") -> list[dict[str, Any]]:
    """Measured weeks of a ratio around `level` per 1,000, alternating by 2%."""
    return [
        {
            "period_start": start + timedelta(weeks=i), "period_end": start + timedelta(weeks=i + 1), "n": 1000, "version_label": label,
            "numerator": level * (1.02 if i % 2 else 0.98), "denominator": 1000,
        }
        for i in range(count)
    ]  # fmt: skip


@pytest.fixture
def measured(kpi, owner, actor_of):  # noqa: F811
    """Twelve weeks without a model at 500, frozen; twelve with outreach/1 at 400."""
    from apps.kpis import services

    actor = actor_of(owner)
    later = T0 + timedelta(weeks=12)
    services.record_measurements(actor=actor, kpi_id=kpi.id, rows=weeks(12, 500.0))
    services.freeze_baseline(actor=actor, kpi_id=kpi.id, period_start=T0, period_end=later)
    services.record_measurements(actor=actor, kpi_id=kpi.id, rows=weeks(12, 400.0, start=later, label="outreach/1"))
    return kpi
