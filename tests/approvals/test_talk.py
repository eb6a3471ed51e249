"""Comments and questions on a gate, and files beside an answer."""

import base64

import pytest
from django.db import DatabaseError, connection, transaction

from apps.approvals import documents, rules, services, talk_rules
from apps.approvals.models import Attachment, Comment
from apps.audit.models import Event
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.notices.models import Delivery

pytestmark = pytest.mark.django_db
PDF = b"%PDF-1.7 a small report"


@pytest.fixture
def draft(policies, usecase, engineer, actor_of):
    return services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="poc")


def test_a_question_and_its_answer_are_told_to_those_concerned(poc_gate, business, owner, engineer, actor_of, api):
    path = f"/api/v1/gates/{poc_gate.id}/comments/"
    asked = api(business).post(path, {"text": " Who pays? ", "kind": "question"}, format="json")
    assert asked.status_code == 201 and asked.json()["text"] == "Who pays?"
    told = {d.person for d in Delivery.objects.filter(notice__event="gate.commented")}
    assert told == {owner, engineer}, "not the one who asks"
    answered = api(engineer).post(path, {"text": "The sponsor.", "answers": asked.json()["id"]}, format="json")
    assert answered.json()["answers_id"] == asked.json()["id"]
    assert [c["text"] for c in api(owner).get(path).json()["results"]] == ["Who pays?", "The sponsor."]
    assert Event.objects.filter(action="approvals.gate.commented").count() == 2


def test_who_does_not_see_the_gate_neither_reads_nor_writes(poc_gate, make_user, api, actor_of):
    path = f"/api/v1/gates/{poc_gate.id}/comments/"
    stranger = make_user("stakeholder")
    assert api(stranger).get(path).status_code == api(stranger).post(path, {"text": "Hm."}, format="json").status_code == 404
    with pytest.raises(NotAllowed, match="Auditors"):
        services.comment(actor=actor_of(make_user("auditor")), gate_id=poc_gate.id, text="Hm.")
    assert not Comment.objects.exists()


def test_empty_words_unknown_kinds_and_foreign_answers_are_refused(poc_gate, business, actor_of):
    actor = actor_of(business)
    for given, field in (({"text": " "}, "text"), ({"text": "x" * 5001}, "text"), ({"text": "x", "kind": "shout"}, "kind")):
        with pytest.raises(Invalid) as refused:
            services.comment(actor=actor, gate_id=poc_gate.id, **given)
        assert field in refused.value.errors
    with pytest.raises(NotFound):
        services.comment(actor=actor, gate_id=poc_gate.id, text="Yes?", answers=poc_gate.id)


def test_a_file_is_in_the_evidence_by_its_digest_and_its_download_is_in_the_trail(draft, owner, engineer, business, actor_of, api):
    path = f"/api/v1/gates/{draft.id}/attachments/"
    body = {"item": "described", "name": "../../reports/audit 1.pdf", "content": base64.b64encode(PDF).decode()}
    assert api(engineer).post(path, body, format="json").status_code == 403, "the item's owner attaches"
    made = api(owner).post(path, body, format="json").json()
    assert made["name"] == "audit 1.pdf" and made["size"] == len(PDF) and "content" not in made
    assert api(owner).post(path, body, format="json").status_code == 409
    services.attest(actor=actor_of(owner), gate_id=draft.id, item="described", answer="yes", note="See the report.")
    gate = services.request_gate(actor=actor_of(engineer), gate_id=draft.id)
    frozen = documents.frozen(gate)["attestations"][0]["attachments"]
    assert frozen == [{"id": made["id"], "name": "audit 1.pdf", "size": len(PDF), "digest": made["digest"]}]
    assert not rules.changes(documents.frozen(gate), documents.live(gate))
    answer = api(business).get(f"{path}{made['id']}/")
    assert answer.content == PDF and answer["X-Content-Type-Options"] == "nosniff" and "attachment" in answer["Content-Disposition"]
    assert Event.objects.filter(action="approvals.attachment.read").count() == 1
    with pytest.raises(Conflict):
        services.attach(actor=actor_of(owner), gate_id=draft.id, item="described", name="late.pdf", content=PDF)


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("report.exe", PDF, "name"),
        ("report", PDF, "name"),
        ("", PDF, "name"),
        ("report.pdf", b"", "content"),
        ("report.pdf", b"<html>", "content"),
        ("page.html", b"<html>", "name"),
        ("report.png", PDF, "content"),
        ("table.csv", b"a\x00b", "content"),
        ("notes.txt", b"\xff\xfe", "content"),
        ("big.txt", b"x" * (talk_rules.MOST_BYTES + 1), "content"),
    ],
)
def test_only_small_files_of_a_known_kind_are_taken(draft, owner, actor_of, name, content, field):
    with pytest.raises(Invalid) as refused:
        services.attach(actor=actor_of(owner), gate_id=draft.id, item="described", name=name, content=content)
    assert field in refused.value.errors and not Attachment.objects.exists()


def test_not_too_many_and_not_beside_an_unknown_item(draft, owner, actor_of):
    for number in range(talk_rules.MOST_FILES):
        services.attach(actor=actor_of(owner), gate_id=draft.id, item="described", name=f"{number}.txt", content=b"%d" % number)
    with pytest.raises(Conflict):
        services.attach(actor=actor_of(owner), gate_id=draft.id, item="described", name="more.txt", content=b"more")
    with pytest.raises(Invalid, match="no item"):
        services.attach(actor=actor_of(owner), gate_id=draft.id, item="nothing", name="more.txt", content=b"more")


def test_bytes_that_are_not_base64_are_named(draft, owner, api):
    answer = api(owner).post(f"/api/v1/gates/{draft.id}/attachments/", {"item": "described", "name": "a.txt", "content": "%%%"}, format="json")
    assert answer.status_code == 400 and "content" in answer.json()["errors"]


@pytest.mark.parametrize("statement", ["UPDATE approvals_{} SET at = now()", "DELETE FROM approvals_{}"])
@pytest.mark.parametrize("table", ["comment", "attachment"])
def test_raw_sql_cannot_change_what_was_said(draft, owner, actor_of, table, statement):
    services.comment(actor=actor_of(owner), gate_id=draft.id, text="Hello.")
    services.attach(actor=actor_of(owner), gate_id=draft.id, item="described", name="a.txt", content=b"a")
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table))
