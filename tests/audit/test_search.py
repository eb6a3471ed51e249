"""The trail is searched over REST, and shows each person what they may see."""

from datetime import UTC, datetime

import pytest

from apps.audit import selectors
from apps.audit.services import record
from apps.core import clock
from apps.core.actor import Actor

ACTION = "audit.trail.exported"
SYSTEM = Actor.system("tests")
USECASE = "01900000-0000-7000-8000-0000000000aa"
OTHER = "01900000-0000-7000-8000-0000000000bb"


def note(**fields):
    return record(ACTION, **({"actor": SYSTEM, "obj_type": "usecase", "obj_id": "u"} | fields))


@pytest.fixture
def auditor(api, make_user):
    return api(make_user("auditor"))


def ids(response):
    assert response.status_code == 200, response.content
    return [e["id"] for e in response.json()["results"]]


def test_each_filter_finds_what_it_names_and_nothing_else(auditor):
    anna = Actor("user", "user:4711", "Anna Winter", user_id="4711")
    # What tests of real commits left in the trail stays there.
    began = clock.now().isoformat()
    first = note(obj_id="model-7", obj_type="model", obj_label="churn", usecase_id=USECASE, after={"note": "café"}, reason='said "no"')
    second = note(actor=anna, obj_id="other", usecase_id=OTHER, decision_id="d-1")
    get = lambda **q: ids(auditor.get("/api/v1/audit/events/", {"since": began} | q))  # noqa: E731
    for found in (
        {"object": "model-7"}, {"object": "model:model-7"}, {"object": "model"}, {"usecase": USECASE}, {"search": "churn"},
        {"search": "CHURN model-7"},
        {"search": "café"}, {"search": '"no"'}, {"search": "no said"}, {"search": str(first.id)}, {"search": "churn", "action": ACTION},
    ):  # fmt: skip
        assert get(**found) == [str(first.id)], found
    for found in (
        {"actor": "4711"}, {"actor": "user:4711"}, {"actor": "winter"}, {"decision": "d-1"}, {"usecase": OTHER}, {"search": "winter"},
    ):  # fmt: skip
        assert get(**found) == [str(second.id)], found
    assert get(search="churn winter") == []
    assert get(search="occurred_at") == [], "the names of the fields are not what was recorded"
    assert get(search="100%") == get(search="_") == [] or str(first.id) not in get(search="100%")
    assert {str(first.id), str(second.id)} <= set(get(action="audit")) & set(get(action="audit.trail."))
    assert str(first.id) not in get(action="accounts")


def test_a_period_is_a_time_or_a_whole_day(auditor):
    with clock.fixed(datetime(2020, 5, 4, 23, 30, tzinfo=UTC)):
        made = str(note().id)
    get = lambda **q: ids(auditor.get("/api/v1/audit/events/", q))  # noqa: E731
    assert get(since="2020-05-04", until="2020-05-04") == [made]
    assert get(since="2020-05-05T01:00:00+02:00", until="2020-05-05T01:30:01+02:00") == [made]
    assert get(until="2020-05-04T23:30:00Z") == []
    refused = auditor.get("/api/v1/audit/events/", {"since": "yesterday"})
    assert refused.status_code == 400 and "since" in refused.json()["errors"]


def test_pages_are_followed_by_next_without_repeats_or_gaps(auditor, django_assert_max_num_queries):
    made = [str(note(obj_id="paged").id) for _ in range(7)]
    seen, address = [], "/api/v1/audit/events/?object=paged&page_size=3"
    while address:
        with django_assert_max_num_queries(6):
            page = auditor.get(address).json()
        seen += [e["id"] for e in page["results"]]
        address = page["next"]
        note(obj_id="paged")
    assert seen == made[::-1]


def test_an_event_shows_who_did_what_and_its_exact_text(auditor):
    made = note(before={"a": 1}, after={"a": 2}, reason="because")
    body = auditor.get(f"/api/v1/audit/events/{made.id}/").json()
    assert body["payload"] == made.payload
    assert (body["before"], body["after"], body["reason"], body["leaf_index"]) == ({"a": 1}, {"a": 2}, "because", None)
    assert body["actor"] == {"kind": "system", "id": "system:tests", "label": "tests", "on_behalf_of": ""}
    assert body["meaning"].startswith("The trail")


def test_others_see_their_own_acts_and_the_use_cases_they_may_see(api, make_user, actor_of, settings):
    user = make_user("ml_engineer")
    mine = note(actor=actor_of(user), usecase_id=OTHER)
    by_token = note(actor=Actor("token", "token:9", "x", on_behalf_of=f"user:{user.id}"))
    shared, hidden = note(usecase_id=USECASE), note(usecase_id=OTHER)
    settings.AUDIT_USECASE_SCOPE = "tests.audit.test_search.scope"
    client = api(user)
    seen = set(ids(client.get("/api/v1/audit/events/", {"action": ACTION})))
    assert seen == {str(mine.id), str(by_token.id), str(shared.id)}
    assert client.get(f"/api/v1/audit/events/{hidden.id}/").status_code == 404
    assert client.get(f"/api/v1/audit/events/{hidden.id}/proof/").status_code == 404
    settings.AUDIT_USECASE_SCOPE = ""
    assert set(ids(client.get("/api/v1/audit/events/", {"action": ACTION}))) == {str(mine.id), str(by_token.id)}


def scope(actor):
    return [USECASE]


def test_nobody_reads_it_unknown(api):
    for address in ("events/", f"events/{USECASE}/", f"events/{USECASE}/proof/", "checkpoints/"):
        assert api().get(f"/api/v1/audit/{address}").status_code == 401, address
    assert api().post("/api/v1/audit/exports/").status_code == 401


def test_an_event_that_is_not_there_is_a_404(auditor):
    assert auditor.get(f"/api/v1/audit/events/{USECASE}/").status_code == 404
    assert auditor.get("/api/v1/audit/events/rubbish/").status_code == 404


@pytest.mark.django_db
def test_an_unsealed_event_is_told_from_a_missing_one(auditor):
    answer = auditor.get(f"/api/v1/audit/events/{note().id}/proof/")
    assert answer.status_code == 409 and answer.json()["code"] == "not-sealed-yet"
    assert selectors.seal_state().waiting >= 1
