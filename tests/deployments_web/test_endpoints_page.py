"""The engineer's home: what is served and what needs somebody."""

import pytest

from apps.deployments.models import Deployment, Endpoint, Host
from apps.monitoring import services as monitoring
from tests.deployments_web.conftest import words

pytestmark = pytest.mark.django_db


def test_a_visitor_is_sent_to_sign_in(client):
    assert client.get("/endpoints/")["Location"] == "/sign-in/?next=/endpoints/"


@pytest.mark.parametrize("role", ["stakeholder", "approver:risk", "ml_engineer", "auditor", "admin"])
def test_an_empty_list_says_what_an_endpoint_is(page_of, make_user, role):
    text = words(page_of(make_user(role)).get("/endpoints/"))
    assert "Nothing is served yet." in text and "An endpoint is the address" in text
    assert "Make the first endpoint" not in text  # there is no use case to make one for


def test_who_may_make_one_is_offered_it(browser, page_of, make_user, usecase):
    assert "Make the first endpoint" in words(browser.get("/endpoints/"))
    assert "Make the first endpoint" in words(page_of(make_user("admin")).get("/endpoints/"))
    assert "Make the first endpoint" not in words(page_of(make_user("ml_engineer")).get("/endpoints/"))


def test_a_well_endpoint_is_ready_and_says_who_answers(browser, stage):
    stage.live(1)
    text = words(browser.get("/endpoints/"))
    assert "The endpoint is well." in text and "all requests, on local" in text and '<span class="state pass">ready</span>' in text


def test_an_endpoint_that_does_not_answer_comes_first_with_the_reason(browser, stage, endpoints):
    well, broken = stage.live(1), stage.live(2, "production")
    Deployment.objects.filter(id=broken.id).update(observed="failed", detail="The disk is full.")
    text = words(browser.get("/endpoints/"))
    assert f"{broken.endpoint.name} does not answer." in text and "The disk is full." in text
    assert text.index(broken.endpoint.slug) < text.index(well.endpoint.slug)


def test_an_open_incident_needs_somebody(browser, stage, elena):
    live, other = stage.live(1), stage.live(2, "production")
    monitoring.open_incident(actor=elena, endpoint_id=live.endpoint_id, severity="high", title="Odd", detail="Seen.", hold=False)
    text = words(browser.get("/endpoints/?show=attention"))
    assert "All that should answer does;" in text and "1 open" in text
    assert live.endpoint.slug in text and other.endpoint.slug not in text
    assert live.endpoint.slug not in words(browser.get("/endpoints/?show=production"))


def test_a_silent_host_is_told(browser, stage):
    stage.live(1)
    Host.objects.update(last_seen_at="2026-01-01T00:00:00Z")
    assert "Host local was last heard from" in words(browser.get("/endpoints/"))


def test_somebody_elses_endpoints_are_out_of_sight(page_of, make_user, stage):
    live = stage.live(1)
    assert live.endpoint.slug not in words(page_of(make_user("ml_engineer")).get("/endpoints/"))
    assert live.endpoint.slug in words(page_of(make_user("auditor")).get("/endpoints/"))


def test_thirty_endpoints_take_no_more_queries_than_one(browser, usecase, stage, django_assert_max_num_queries):
    live = stage.live(1)
    for number in range(29):
        endpoint = Endpoint.objects.create(usecase=usecase, slug=f"e-{number}", name=f"E {number:02}", environment="pilot")
        Deployment.objects.create(
            endpoint=endpoint, model_version=live.model_version, model_version_label=live.model_version_label,
            artifact_digest=live.artifact_digest, decision_id=live.decision_id, host=live.host, role="live", weight=100, observed="ready",
            url="http://127.0.0.1:9001", requested_by="tests",
        )  # fmt: skip
    with django_assert_max_num_queries(16):
        assert "All 30 endpoints are well." in words(browser.get("/endpoints/"))
