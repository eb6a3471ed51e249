"""What stands still: past the expected time of its stage, for those who see it, and linked from the portfolio."""

from datetime import timedelta

import pytest

from apps.core.clock import fixed, now

pytestmark = pytest.mark.django_db


def test_a_use_case_past_its_time_is_listed_with_how_much(page_of, owner, usecase, make_user, settings):
    settings.STAGE_DAYS = {"proposal": 10}
    assert "Nothing stands still" in page_of(owner).get("/stalled/").content.decode()
    assert "/stalled/" not in page_of(owner).get("/portfolio/").content.decode()
    with fixed(now() + timedelta(days=14)):
        text = page_of(owner).get("/stalled/").content.decode()
        assert usecase.name in text and "10 days" in text and "1 use case is longer in its stage than expected" in text
        assert "1 stands still" in page_of(owner).get("/portfolio/").content.decode()
        page = page_of(owner).get(f"/usecases/{usecase.slug}/").content.decode()
        assert "longer than the 10 days expected" in page
        assert usecase.name not in page_of(make_user("stakeholder")).get("/stalled/").content.decode()


def test_the_list_takes_a_bounded_number_of_queries(page_of, owner, actor_of, usecase, settings, django_assert_max_num_queries):
    from apps.usecases import services

    settings.STAGE_DAYS = {"proposal": 0}
    for number in range(20):
        services.create_usecase(actor=actor_of(owner), name=f"Case {number}", problem="P.", risk_tier="limited")
    browser = page_of(owner)
    browser.get("/stalled/")
    with django_assert_max_num_queries(14):
        assert "Case 19" in browser.get("/stalled/").content.decode()
