"""The way from proposal to pilot over REST alone, as each person sees it."""

import hashlib

import pytest

from apps.accounts.models import SignInAttempt
from apps.audit.models import Event
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def ok(response, code=200):
    assert response.status_code == code, (response.status_code, response.content[:2000])
    return response.json()


def sign(client, gate, function, password=PASSWORD, **changed):
    body = {"function": function, "meaning": "approved", "evidence_digest": gate["evidence_digest"], "password": password} | changed
    return client.post(f"/api/v1/gates/{gate['id']}/signatures/", body, format="json")


def test_from_proposal_to_pilot(api, policies, usecase, owner, engineer, business, risk, security, version):
    emil, olga, bea, rita, sam = (api(p) for p in (engineer, owner, business, risk, security))
    assert ok(bea.get("/api/v1/usecases/"))["results"] == [], "approvers see nothing before they are needed"

    gate = ok(emil.post("/api/v1/gates/", {"usecase": usecase.slug, "to_stage": "poc", "note": "Please."}, format="json"), 201)
    assert gate["state"] == "draft" and gate["me"]["may_request"] and "described" in gate["open_points"]
    refused = emil.post(f"/api/v1/gates/{gate['id']}/request/")
    assert refused.status_code == 409 and refused.json()["code"] == "evidence-incomplete"
    ok(olga.post(f"/api/v1/gates/{gate['id']}/attestations/", {"item": "described", "answer": "yes", "note": "Yes."}, format="json"), 201)
    gate = ok(emil.post(f"/api/v1/gates/{gate['id']}/request/"))
    assert gate["state"] == "open" and gate["wanted"] == {"business": 1} and gate["evidence"][0]["state"] == "pass"

    assert [g["id"] for g in ok(bea.get("/api/v1/gates/?waiting_on=me"))["results"]] == [gate["id"]]
    assert ok(rita.get("/api/v1/gates/"))["results"] == [] and rita.get(f"/api/v1/gates/{gate['id']}/").status_code == 404
    read = ok(bea.get(f"/api/v1/gates/{gate['id']}/"))
    assert read["me"]["may_sign_as"] == ["business"] and read["question"] == "May it?"
    frozen = ok(bea.get(f"/api/v1/gates/{gate['id']}/evidence/"))
    assert "sha256:" + hashlib.sha256(frozen["text"].encode()).hexdigest() == frozen["digest"] == gate["evidence_digest"]

    gate = ok(sign(bea, gate, "business", comment="Worth trying."), 201)
    assert gate["state"] == "approved" and gate["usecase"]["stage"] == "poc"
    signed = gate["signatures"][0]["signatures"][0]
    assert (signed["printed_name"], signed["meaning"], signed["comment"]) == ("Bea Business", "approved", "Worth trying.")
    assert ok(bea.get("/api/v1/gates/?waiting_on=me"))["results"] == []

    body = {"usecase": usecase.slug, "to_stage": "pilot", "model_version": "outreach/1"}
    gate = ok(emil.post("/api/v1/gates/", body, format="json"), 201)
    gate = ok(emil.post(f"/api/v1/gates/{gate['id']}/request/"))
    ok(sign(rita, gate, "risk"), 201)
    gate = ok(sign(bea, gate, "business"), 201)
    assert gate["state"] == "approved" and gate["model_version"]["label"] == "outreach/1"

    decisions = ok(olga.get(f"/api/v1/decisions/?usecase={usecase.slug}"))["results"]
    assert [d["environment"] for d in decisions] == ["pilot", ""] and all(d["live"] for d in decisions)
    assert ok(sam.get("/api/v1/decisions/"))["results"] == [] and sam.get(f"/api/v1/decisions/{decisions[0]['id']}/").status_code == 404
    revoked = ok(rita.post(f"/api/v1/decisions/{decisions[0]['id']}/revoke/", {"reason": "Wrong data."}, format="json"))
    assert not revoked["live"] and "Wrong data." in revoked["why_not_live"]


def test_a_wrong_password_is_refused_counted_and_audited(api, poc_gate, business):
    gate = {"id": str(poc_gate.id), "evidence_digest": poc_gate.evidence_digest}
    response = sign(api(business), gate, "business", password="not my password")
    assert response.status_code == 403 and response.json()["code"] == "credentials-refused"
    assert SignInAttempt.objects.count() == 1
    assert Event.objects.filter(action="accounts.session.refused").count() == 1
    assert not Event.objects.filter(payload__contains="not my password").exists()
    assert b"not my password" not in response.content


def test_stale_evidence_answers_with_what_changed(api, poc_gate, business, usecase, owner, actor_of):
    from apps.usecases import services

    services.add_integration(actor=actor_of(owner), usecase_id=usecase.id, name="Claims", direction="in")
    response = sign(api(business), {"id": str(poc_gate.id), "evidence_digest": poc_gate.evidence_digest}, "business")
    assert response.status_code == 409 and response.json()["code"] == "stale-evidence" and response.json()["changes"]


def test_four_eyes_is_a_403_that_says_so(api, poc_gate, engineer, system):
    from apps.accounts import services as accounts

    accounts.assign_role(actor=system, user=engineer, role="approver", function="business")
    response = sign(api(engineer), {"id": str(poc_gate.id), "evidence_digest": poc_gate.evidence_digest}, "business")
    assert response.status_code == 403 and response.json()["code"] == "four-eyes-required"


@pytest.mark.parametrize("left_out", ["password", "evidence_digest", "function", "meaning"])
def test_a_signature_without_a_part_names_it(api, poc_gate, business, left_out):
    body = {"function": "business", "meaning": "approved", "evidence_digest": poc_gate.evidence_digest, "password": PASSWORD}
    body.pop(left_out)
    response = api(business).post(f"/api/v1/gates/{poc_gate.id}/signatures/", body, format="json")
    assert response.status_code == 400 and left_out in response.json()["errors"]


def test_a_read_only_token_signs_nothing(api, poc_gate, business):
    response = sign(api(business, scopes=("read",)), {"id": str(poc_gate.id), "evidence_digest": poc_gate.evidence_digest}, "business")
    assert response.status_code == 403


def test_wrong_filters_and_stages_are_named(api, policies, usecase, engineer):
    client = api(engineer)
    assert client.get("/api/v1/gates/?state=odd").json()["errors"]["state"][0].startswith("Choose one of draft, open")
    assert client.get("/api/v1/gates/?waiting_on=you").status_code == 400
    assert client.get("/api/v1/gates/?usecase=nothing").status_code == 404
    response = client.post("/api/v1/gates/", {"usecase": usecase.slug, "to_stage": "production"}, format="json")
    assert response.status_code == 409 and "to_stage" in response.json()["errors"]
    body = {"usecase": usecase.slug, "to_stage": "poc", "model_version": "nothing/1"}
    assert client.post("/api/v1/gates/", body, format="json").status_code in (201, 404)


def test_requesting_with_an_idempotency_key_opens_one_gate(api, policies, usecase, engineer):
    client, body = api(engineer), {"usecase": usecase.slug, "to_stage": "poc"}
    first = ok(client.post("/api/v1/gates/", body, format="json", HTTP_IDEMPOTENCY_KEY="k1"), 201)
    again = ok(client.post("/api/v1/gates/", body, format="json", HTTP_IDEMPOTENCY_KEY="k1"), 201)
    assert first["id"] == again["id"] and client.get("/api/v1/gates/").json()["results"][0]["id"] == first["id"]


def test_withdrawing_over_rest(api, poc_gate, engineer, business):
    assert api(business).post(f"/api/v1/gates/{poc_gate.id}/withdraw/", {}, format="json").status_code == 403
    assert ok(api(engineer).post(f"/api/v1/gates/{poc_gate.id}/withdraw/", {"reason": "Early."}, format="json"))["state"] == "withdrawn"


def test_policies_are_read_by_all_and_published_by_policy_owners(api, policies, engineer, make_user):
    from apps.accounts.models import SignInAttempt
    from tests.approvals.conftest import policy

    assert len(ok(api(engineer).get("/api/v1/policies/"))["results"]) == 4
    body = {"text": policy("proposal_poc", {"business": 2}, version=2), "password": PASSWORD, "note": "Two of them."}
    assert api(engineer).post("/api/v1/policies/", body, format="json").status_code == 403
    assert api(make_user("admin")).post("/api/v1/policies/", body, format="json").status_code == 403
    owner = api(make_user("policy_owner", name="Pia Policy"))
    impossible = owner.post("/api/v1/policies/", body, format="json")
    assert impossible.status_code == 400 and "takes 2 people who sign for business" in impossible.json()["errors"]["quorum.business"][0]
    for _ in range(2):
        make_user("approver:business")
    assert owner.post("/api/v1/policies/", {"text": body["text"]}, format="json").json()["errors"]["password"]
    wrong = owner.post("/api/v1/policies/", body | {"password": "wrong"}, format="json")
    assert wrong.status_code == 403 and wrong.json()["code"] == "credentials-refused" and SignInAttempt.objects.count() == 1
    made = ok(owner.post("/api/v1/policies/", body, format="json"), 201)
    assert made["version"] == 2 and made["printed_name"] == "Pia Policy" and made["text"] == body["text"] and "password" not in made
    assert owner.post("/api/v1/policies/", body, format="json").status_code == 200
    assert ok(owner.get(f"/api/v1/policies/{made['id']}/"))["note"] == "Two of them."
    assert {p["gate"] for p in ok(owner.get("/api/v1/policies/?gate=version"))["results"]} == {"version"}
    bad = owner.post("/api/v1/policies/", body | {"text": "name: [x"}, format="json")
    assert bad.status_code == 400 and any(k.startswith("line") for k in bad.json()["errors"])


def test_a_text_is_tried_without_publishing_it(api, policies, engineer, business):
    from apps.approvals.models import PolicyVersion
    from tests.approvals.conftest import policy

    said = ok(api(engineer).post("/api/v1/policies/check/", {"text": policy("proposal_poc", {"business": 1}, version=9)}, format="json"))
    assert said["body"]["version"] == 9 and said["digest"].startswith("sha256:") and PolicyVersion.objects.count() == 4
    bad = api(engineer).post("/api/v1/policies/check/", {"text": "name: x\nversion: 1\ngate: nowhere\n"}, format="json")
    assert bad.status_code == 400 and bad.json()["line"] == 3 and "gate" in bad.json()["errors"]


class TestBudgets:
    """Lists take the same number of queries however long they are."""

    def many(self, count, owner, engineer, actor_of):
        from apps.approvals import services
        from apps.usecases import services as usecases

        for number in range(count):
            made = usecases.create_usecase(
                actor=actor_of(owner), name=f"Case {number}", problem="P.", risk_tier="high", decision_supported="D.", output_users="U.",
                sponsor=owner, integrations=[{"name": "Register", "direction": "in"}],
            )  # fmt: skip
            usecases.give_access(actor=actor_of(owner), usecase_id=made.id, user=engineer, level="change")
            gate = services.open_gate(actor=actor_of(engineer), usecase_id=made.id, to_stage="poc")
            services.attest(actor=actor_of(owner), gate_id=gate.id, item="described", answer="yes", note="Yes.")
            services.request_gate(actor=actor_of(engineer), gate_id=gate.id)

    @pytest.mark.parametrize("path", ["/api/v1/gates/", "/api/v1/gates/?waiting_on=me", "/api/v1/usecases/", "/api/v1/decisions/"])
    def test_a_list_does_not_grow_queries(
        self, api, policies, usecase, owner, engineer, business, actor_of, path, django_assert_max_num_queries
    ):
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        client = api(business)
        self.many(1, owner, engineer, actor_of)
        with CaptureQueriesContext(connection) as few:
            ok(client.get(path))
        self.many(6, owner, engineer, actor_of)
        with CaptureQueriesContext(connection) as many:
            found = ok(client.get(path))
        assert len(many) <= len(few) <= 12
        assert path == "/api/v1/decisions/" or len(found["results"]) == 7

    def test_a_gate_page_stays_under_twenty_five_queries(self, api, poc_gate, business, django_assert_max_num_queries):
        client = api(business)
        with django_assert_max_num_queries(25):
            ok(client.get(f"/api/v1/gates/{poc_gate.id}/"))

    def test_counting_what_waits_takes_two_queries_and_one_for_others(self, poc_gate, business, engineer, actor_of, django_assert_num_queries):
        from apps.approvals import selectors

        actor, other = actor_of(business), actor_of(engineer)
        with django_assert_num_queries(2):
            assert selectors.count_waiting_on(actor) == 1
        with django_assert_num_queries(1):
            assert selectors.count_waiting_on(other) == 0
