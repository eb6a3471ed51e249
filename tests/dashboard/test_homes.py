"""Each role comes home to its own question; the rail shows what a role may use; rate cards."""

import pytest

from apps.kpis.models import RateCard

pytestmark = pytest.mark.django_db
PRICES = {"cpu_hour": "0.048", "gpu_hour": "2.5", "memory_gib_hour": "", "per_1k_requests": "", "currency": "eur"}


@pytest.mark.parametrize(
    ("role", "home"),
    [("stakeholder", "/portfolio/"), ("approver:risk", "/inbox/"), ("ml_engineer", "/endpoints/"), ("auditor", "/trail/"), ("admin", "/portfolio/")],
)
def test_home_is_the_page_that_answers_the_question_of_the_role(page_of, make_user, role, home):
    browser = page_of(make_user(role))
    assert browser.get("/")["Location"] == home
    assert browser.get(home).status_code == 200


def test_somebody_without_a_role_comes_to_the_account(page_of, make_user):
    assert page_of(make_user()).get("/")["Location"] == "/account/"


def test_the_rail_marks_the_place_a_page_belongs_to(page_of, owner, usecase):
    text = page_of(owner).get("/usecases/care-outreach/").content.decode()
    assert 'href="/portfolio/" aria-current="page"' in " ".join(text.split())


def test_an_administrator_sets_the_rates_and_everyone_reads_them(page_of, make_user):
    admin, other = page_of(make_user("admin")), page_of(make_user("stakeholder"))
    assert other.post("/rates/", PRICES).status_code == 403
    assert admin.post("/rates/", PRICES | {"cpu_hour": "free"}).status_code == 400
    assert not RateCard.objects.exists()
    assert admin.post("/rates/", PRICES).status_code == 302
    assert "0.048 EUR" in other.get("/rates/").content.decode()
