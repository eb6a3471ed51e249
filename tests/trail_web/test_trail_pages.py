"""The trail for people: search it, read one event, take an export away."""

import re

import pytest

from apps.audit import selectors
from apps.audit.models import Event
from apps.usecases import services
from apps.usecases.models import UseCase
from tests.deployments_web.conftest import words

pytestmark = pytest.mark.django_db


@pytest.fixture
def auditor(page_of, make_user):
    return page_of(make_user("auditor", name="Tom Auditor"))


@pytest.fixture
def other(elena):
    """A second use case."""
    return services.create_usecase(
        actor=elena, name="Letter routing", problem="p", risk_tier="minimal", decision_supported="d", output_users="u"
    )


def rows(text):
    return text.split("<tbody>")[1].split("</tbody>")[0].count("<tr>") if "<tbody>" in text else 0


def test_a_visitor_is_sent_to_sign_in(client):
    assert client.get("/trail/").status_code == 302


def test_the_page_says_first_whether_the_trail_is_sealed(auditor, usecase):
    text = words(auditor.get("/trail/"))
    assert "events are sealed" in text and "A use case was written down" in text and "Export with proofs" in text


def test_people_see_the_events_of_what_they_may_see(page_of, make_user, engineer, usecase):
    mine, strangers = words(page_of(engineer).get("/trail/")), words(page_of(make_user("stakeholder")).get("/trail/"))
    assert rows(mine) > 0 and rows(strangers) == 0 and "No event you may see" in strangers
    assert "Export with proofs" not in mine


def test_filters_narrow_and_can_be_taken_off(auditor, usecase, other):
    text = words(auditor.get("/trail/?action=usecases.usecase.created"))
    assert "Care outreach" in text and "Letter routing" in text and "Show all" in text
    only = words(auditor.get(f"/trail/?action=usecases.usecase.created&usecase={other.slug}"))
    assert rows(only) == 1 and "No older event fits." in only
    assert rows(words(auditor.get("/trail/?search=Letter&action=usecases.usecase.created"))) == 1
    assert rows(words(auditor.get("/trail/?actor=Elena&action=usecases.usecase.created"))) == 2
    none = words(auditor.get("/trail/?since=2099-01-01"))
    assert "No event fits all of these filters" in none and rows(none) == 0


def test_a_filter_that_cannot_be_read_is_refused_in_words_and_kept(auditor):
    answer = auditor.get("/trail/?since=soon")
    assert answer.status_code == 400 and "since: give a date" in words(answer) and 'value="soon"' in words(answer)
    assert auditor.get("/trail/?usecase=none-such").status_code == 404


def test_older_events_follow_on_the_next_page_without_gaps(auditor, elena, usecase, make_user, django_assert_max_num_queries):
    for number in range(70):
        services.add_integration(actor=elena, usecase_id=usecase.id, name=f"System {number}", kind="", direction="in")
    first = words(auditor.get("/trail/?action=usecases.integration"))
    link = first.split('<a href="?')[1].split('"')[0].replace("&amp;", "&")
    with django_assert_max_num_queries(16):
        second = words(auditor.get("/trail/?" + link))
    assert rows(first) == 50 and rows(second) == 20 and "Newest" in second
    assert not set(_ids(first)) & set(_ids(second))


def _ids(text):
    return [part.split("/")[0] for part in text.split("/trail/events/")[1:]]


def test_one_event_shows_what_was_written_and_the_text_that_is_hashed(auditor, usecase):
    event = Event.objects.filter(action="usecases.usecase.created").latest("id")
    text = words(auditor.get(f"/trail/events/{event.id}/"))
    assert "What was written" in text and "Elena Engineer" in text and "its whole history" in text
    assert "&quot;action&quot;:&quot;usecases.usecase.created&quot;" in text


def test_an_event_that_changed_something_shows_before_and_after(auditor, elena, usecase):
    services.update_usecase(actor=elena, usecase_id=usecase.id, problem="Another problem.")
    event = Event.objects.filter(action="usecases.usecase.changed").latest("id")
    text = words(auditor.get(f"/trail/events/{event.id}/"))
    assert "What changed" in text and "<del>Calls reach the wrong members.</del>" in text and "<ins>Another problem.</ins>" in text


def test_an_event_out_of_sight_is_not_found(page_of, make_user, auditor, usecase):
    event = Event.objects.filter(action="usecases.usecase.created").latest("id")
    assert page_of(make_user("stakeholder")).get(f"/trail/events/{event.id}/").status_code == 404
    assert auditor.get("/trail/events/01a1fcb1-4713-79a5-9847-9234052c19af/").status_code == 404


def test_exports_are_for_auditors(page_of, engineer, client):
    assert page_of(engineer).post("/trail/export/").status_code == 403
    assert client.post("/trail/export/").status_code == 302
    assert page_of(engineer).get("/trail/export/").status_code == 405


@pytest.fixture
def sealed(settings, tmp_path, usecase):
    """What was written so far is sealed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from django.db import connection

    from apps.audit.sealing import Frontier, leaf_hash, sign_checkpoint

    # A test's transaction never ends for the sealer, so the tree is put there as it would be.
    frontier, rows = Frontier(), list(Event.objects.order_by("id").values_list("id", "payload"))
    with connection.cursor() as cursor:
        for index, (event_id, payload) in enumerate(rows):
            complete = frontier.append(leaf_hash(payload))
            cursor.execute("INSERT INTO audit_leaf VALUES (%s, %s, %s)", [index, event_id, leaf_hash(payload)])
            for subtree in complete:
                cursor.execute("INSERT INTO audit_subtree VALUES (%s, %s, %s)", [subtree.level, subtree.position, subtree.root])
        note = sign_checkpoint(
            origin="tests",
            tree_size=len(rows),
            root=frontier.root(),
            sealed_at="2026-01-01T00:00:00.000000Z",
            private_key=Ed25519PrivateKey.generate(),
        ).note
        cursor.execute(
            "INSERT INTO audit_checkpoint VALUES (%s, %s, %s, %s, now(), '1', %s)",
            [len(rows), frontier.root(), frontier.to_bytes(), note, rows[-1][0]],
        )
    return len(rows)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_what_a_search_finds_is_taken_away(auditor, sealed, kind):
    answer = auditor.post("/trail/downloads/", {"kind": kind, "action": "usecases.usecase.created"})
    assert answer.status_code == 302 and answer["Location"] == "/trail/downloads/"
    text = words(auditor.get("/trail/downloads/"))
    assert "1 is ready to take" in text and "action usecases.usecase.created" in text
    link = re.search(r"/trail/downloads/[0-9a-f-]{36}/content/", text)[0]
    got = b"".join(auditor.get(link).streaming_content).decode()
    assert "Care outreach" in got and len(got.splitlines()) == {"jsonl": 3, "csv": 2}[kind]


def test_before_anything_is_sealed_the_refusal_says_what_to_do(auditor, usecase):
    if selectors.latest_checkpoint() is not None:
        pytest.skip("something was sealed in this database before")
    answer = auditor.post("/trail/downloads/", {"kind": "csv"})
    assert answer.status_code == 409 and "seal process" in words(answer)


def test_a_pack_is_asked_for_on_the_page_of_its_use_case(page_of, engineer, sealed, usecase):
    browser = page_of(engineer)
    assert "Evidence pack of" in words(browser.get(f"/usecases/{usecase.slug}/"))
    assert browser.post("/trail/downloads/", {"kind": "pack", "usecase": usecase.slug, "decision": ""}).status_code == 302
    text = words(browser.get("/trail/downloads/"))
    assert "1 is being put together" in text and "waiting" in text and "hx-trigger" in text
    # The whole trail, and what they may not see, is not theirs to take.
    assert browser.post("/trail/downloads/", {"kind": "jsonl"}).status_code == 403
    assert browser.post("/trail/downloads/", {"kind": "pack", "usecase": "none-such"}).status_code == 404


@pytest.mark.parametrize("kind", ["pack", "jsonl"])
def test_a_decision_that_is_no_id_is_refused_in_words(auditor, sealed, usecase, kind):
    answer = auditor.post("/trail/downloads/", {"kind": kind, "usecase": usecase.slug, "decision": "abc"})
    assert answer.status_code == 400 and "decision_id: give the id of a decision" in words(answer)
    assert not Event.objects.filter(action="audit.download.requested").exists()


def test_the_report_counts_shows_and_names_its_checkpoint(auditor, sealed, other, page_of, engineer, usecase):
    text = words(auditor.get("/trail/report/?action=usecases.usecase.created"))
    assert "2 events from" in text and "1 of them sealed" in text and "A use case was written down" in text
    assert "\u2014 tests " in text and "Elena Engineer" in text
    event = Event.objects.filter(action="audit.report.read").latest("id")
    assert event.facts["after"]["events"] == 2 and event.actor_label == "Tom Auditor"
    mine = page_of(engineer)
    assert mine.get("/trail/report/").status_code == 403 and mine.get(f"/trail/report/?usecase={usecase.slug}").status_code == 200
    assert auditor.get("/trail/report/?since=soon").status_code == 400


def test_an_event_under_a_decision_leads_to_signatures_and_evidence(auditor, stage, system):
    stage.live(1)
    event = Event.objects.filter(action="deployments.rollout.completed").latest("id")
    # No gate stands behind the decisions of this world.
    assert "its signatures and evidence" not in words(auditor.get(f"/trail/events/{event.id}/"))
    assert f"/asof/?at={event.facts['occurred_at'].replace(':', '%3A')}" in words(auditor.get(f"/trail/events/{event.id}/"))


def test_what_happened_to_an_objects_row_stands_beside_its_events_for_auditors(auditor, page_of, engineer, elena, usecase):
    services.update_usecase(actor=elena, usecase_id=usecase.id, problem="Waits are long")
    address = f"/trail/?object=usecase:{usecase.id}"
    text = words(auditor.get(address))
    kept = text.split("What happened to its row")[1].split("Take it away")[0]
    assert "usecases_usecase" in kept and "Waits are long" in kept and "insert" in kept and ">no event<" not in kept
    assert "What happened to its row" not in words(page_of(engineer).get(address))
    assert "What happened to its row" not in words(auditor.get("/trail/?object=usecase"))
    UseCase.objects.filter(id=usecase.id).update(lesson="By hand")
    # In a test all is one transaction, so what is by hand has an event beside it too.
    assert "By hand" in words(auditor.get(address))
