"""Callers on the endpoint's page: for whom they call, to whom production is open, and how many were turned away."""

import uuid
from datetime import date

import pytest

from apps.core.clock import now
from apps.deployments import services
from apps.deployments.models import EndpointKey
from apps.usecases import services as usecases
from tests.deployments_web.conftest import words

pytestmark = pytest.mark.django_db


def test_a_key_is_issued_and_assigned(browser, endpoints):
    path = f"/endpoints/{endpoints('production').slug}/"
    assert browser.post(f"{path}keys/", {"name": "claims system", "department": "Claims", "team": ""}).status_code == 200
    key = EndpointKey.objects.get()
    assert key.department == "Claims" and "For whom “claims system” calls" in words(browser.get(path))
    assert browser.post(f"{path}keys/{key.id}/group/", {"department": "Billing", "team": "North"}).status_code == 302
    assert "Billing, North" in words(browser.get(path))
    refused = browser.post(f"{path}keys/{key.id}/group/", {"department": "x" * 101})
    assert refused.status_code == 400 and "x" * 101 in words(refused) and words(refused).count('role="alert"') == 1


def test_the_page_says_how_many_were_turned_away_and_what_each_waits_for(browser, endpoints, elena, usecase, system, django_assert_max_num_queries):
    endpoint = endpoints("production")
    path = f"/endpoints/{endpoint.slug}/"
    assert "To whom it is open" not in words(browser.get(path))
    key, _ = services.issue_key(actor=elena, endpoint_id=endpoint.id, name="claims system", department="Claims")
    usecases.plan_phase(
        actor=elena, usecase_id=usecase.id, name="Claims desk", departments=["Claims"], planned_on=date(2026, 12, 1), entry_criteria="Trained."
    )
    assert "Nobody has asked in 7 days" in words(browser.get(path))
    hour = now().replace(minute=0, second=0, microsecond=0).isoformat()
    rows = [
        {"endpoint": str(endpoint.id), "hour": hour, "key": key.prefix, "phase": "", "admitted": 3, "refused": 0},
        {"endpoint": str(endpoint.id), "hour": hour, "key": key.prefix, "phase": "Claims desk", "admitted": 0, "refused": 1},
    ]
    services.take_tally(actor=system, run=uuid.uuid4(), rows=rows)
    with django_assert_max_num_queries(60):
        text = words(browser.get(path))
    assert "1 of 4 requests (25.0%) in 7 days" in text and "of 1 of 1 caller" in text
    assert "open to none of its users; “Claims desk” opens it to more" in text
    assert "1 of 4 requests turned away in 7 days" in text
