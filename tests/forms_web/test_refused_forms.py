"""Every form, refused: what was typed is still there, the reason stands at the top and beside its field, and no password comes back."""

import re
from pathlib import Path

import pytest

from apps.approvals import services as approvals
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db
TYPED = "Words that were typed"


def _asked(w, actor_of, engineer):
    actor = actor_of(engineer)
    approvals.attest(actor=actor, gate_id=w.gate.id, item="described", answer="yes", note="I wrote it.")
    return approvals.request_gate(actor=actor, gate_id=w.gate.id)


# (url name, address, what is sent, what must still be there, the field that is named, none where no field is at fault); {…} is filled from the world.
CASES = [
    ("usecase-new", "/usecases/new/", {"name": TYPED, "risk_tier": "high"}, TYPED, "problem"),
    ("usecase-change", "/usecases/{u}/edit/words/", {"problem": TYPED, "risk_tier": "high"}, TYPED, "name"),
    ("usecase-change", "/usecases/{u}/edit/requirements/", {"latency_p99_ms": "77.5", "availability_pct": "101"}, 'value="77.5"', "availability_pct"),
    ("usecase-change", "/usecases/{u}/edit/integrations/", {"note": TYPED, "direction": "out"}, TYPED, "name"),
    ("usecase-change", "/usecases/{u}/edit/kpis/", {"name": TYPED, "direction": "higher", "dimension": "quality", "aggregation": "mean"}, TYPED, "unit"),
    ("usecase-change", "/usecases/{u}/edit/people/", {"user": "nobody@example.org", "level": "change"}, "nobody@example.org", "user"),
    ("usecase-change", "/usecases/{u}/edit/models/", {"model": "no-such-model"}, "no-such-model", "model"),
    ("usecase-change", "/usecases/{u}/edit/hold/", {"reason": " "}, "", "reason"),
    ("usecase-change", "/usecases/{u}/edit/stop/", {"lesson": ""}, "", "lesson"),
    ("kpi-change", "/kpis/{k}/record/", {"numerator": "77.5", "period_start": "2026-02-02T00:00"}, 'value="77.5"', "denominator"),
    ("kpi-change", "/kpis/{k}/paste/", {"rows": f"what;header\n1;{TYPED}", "mode": "good"}, TYPED, "rows"),
    ("kpi-change", "/kpis/{k}/baseline/", {"period_start": "2026-02-02T00:00", "note": TYPED}, TYPED, "period_end"),
    ("kpi-change", "/kpis/{k}/worth/", {"note": TYPED, "currency": "USD"}, TYPED, "value_per_unit"),
    ("kpi-change", "/kpis/{k}/definition/", {"name": "", "question": TYPED, "unit": "USD", "direction": "lower"}, TYPED, "name"),
    ("deployments:new-endpoint", "/endpoints/new/", {"usecase": "{u}", "environment": "production", "name": TYPED, "rate_limit_rps": "0"}, TYPED, "rate_limit_rps"),
    ("deployments:deploy", "/endpoints/{e}/deploy/", {"version": "{v}", "strategy": "canary", "steps": "77, 10", "bake_s": "33"}, 'value="77, 10"', "steps"),
    ("deployments:deploy", "/endpoints/{e}/deploy/", {"version": "{v}", "strategy": "canary", "steps": "7, 100", "bake_s": "-3"}, 'value="7, 100"', "bake_s"),
    ("deployments:roll-back", "/endpoints/{e}/roll-back/", {"reason": " "}, "", "reason"),
    ("deployments:stop", "/endpoints/{e}/deployments/{d}/stop/", {"reason": " "}, "", "reason"),
    ("deployments:issue-key", "/endpoints/{e}/keys/", {"name": " "}, "", "name"),
    ("deployments:assign-key", "/endpoints/{e}/keys/{y}/group/", {"department": "x" * 101, "team": TYPED}, TYPED, "department"),
    ("usecase-phases", "/usecases/{u}/phases/", {"name": TYPED, "planned_on": "2026-12-01", "entry_criteria": "Trained.", "percent": "101"}, TYPED, "percent"),
    ("usecase-phases", "/usecases/{u}/phases/", {"name": TYPED}, TYPED, "planned_on"),
    ("phase-change", "/usecases/{u}/phases/{p}/change/", {"name": TYPED, "percent": "0"}, TYPED, "percent"),
    ("loadtests:start", "/load-tests/start/", {"deployment": "{d}", "multiplier": "77.5", "duration_s": "0"}, 'value="77.5"', "duration_s"),
    ("approvals:open", "/gates/new/", {"usecase": "{u}", "note": TYPED}, TYPED, "to"),
    ("approvals:answer", "/gates/{g}/answer/", {"item": "described", "answer": "no", "note": " "}, '<option value="no" selected>', "note"),
    ("approvals:ask-waiver", "/gates/{g}/waivers/", {"subject": "described", "reason": TYPED, "until": "2020-01-01"}, TYPED, "until"),
    ("approvals:attach", "/gates/{g}/attachments/", {"item": "described"}, "", ""),
    ("approvals:comment", "/gates/{g}/comments/", {"text": " "}, "", "text"),
    ("approvals:delegations", "/delegations/", {"delegate": "nobody@example.org"}, "", ""),
    ("monitoring:create", "/endpoints/{e}/monitoring/create/drift/", {"reference": "captured", "psi_bound": "0.77"}, 'value="0.77"', "since"),
    ("monitoring:create", "/endpoints/{e}/monitoring/create/cost/", {"miss_cost": "777", "auto_roll_back": "0"}, 'value="777"', "bound_per_1k"),
    ("monitoring:create", "/endpoints/{e}/monitoring/create/latency/", {"min_rows": "777", "p99_ms": "-1"}, 'value="777"', "p99_ms"),
    ("monitoring:open-incident", "/endpoints/{e}/monitoring/incidents/", {"detail": TYPED, "severity": "low"}, TYPED, "title"),
    ("monitoring:close-incident", "/endpoints/{e}/monitoring/incidents/{i}/close/", {"resolution": " "}, "", "resolution"),
    ("accounts:account", "/account/", {"name": " ", "scopes": "write"}, 'value="write" checked', "name"),
    ("accounts:account", "/account/", {"name": TYPED, "scopes": "no-such-scope"}, TYPED, "scopes"),
    ("registry:evaluation-from-run", "/models/care-outreach/versions/3/evaluations/from-run/", {"name": "held-out", "task": TYPED}, TYPED, ""),
    ("registry:evaluations", "/models/care-outreach/versions/3/evaluations/", {"document": TYPED}, TYPED, "document"),
    ("registry:owner", "/models/care-outreach/owner/", {"owner": "nobody@example.org"}, "nobody@example.org", "owner"),
    ("registry:failures", "/models/care-outreach/failure-modes/", {"title": "", "effect": TYPED}, TYPED, "title"),
    ("registry:version", "/models/care-outreach/versions/3/", {"intended_use": TYPED, "limitations": "x" * 30_000, "revision": "0"}, TYPED, "limitations"),
]  # fmt: skip
# Tested below with other people, or by the app itself; or without anything to type.
ELSEWHERE = {"phase-close", "signing-key-retire", "usecase-tier", "usecase-tier-sign", "approvals:policy-check", "approvals:sign", "approvals:sign-waiver", "approvals:policy-new", "approvals:revoke", "approvals:withdraw", "accounts:password", "accounts:assign-role", "notices:change", "accounts:confirm-codes", "accounts:remove-codes", "accounts:remove-anothers-codes"}
NOTHING_TO_TYPE = {
    "accounts:begin-codes", "approvals:end-delegation", "phase-drop", "phase-gate",
    "accounts:sign-out", "accounts:revoke-token", "approvals:request", "audit:downloads", "audit:export", "deployments:rehearse", "deployments:revoke-key",
    "monitoring:judge", "monitoring:retire", "accounts:remove-role", "accounts:close-account", "notices:by-email", "notices:test",
    "notices:rotate", "notices:end", "notices:redeliver",
}  # fmt: skip


def about(text: str, field: str) -> str:
    """What the form that was refused says beside the field of this name."""
    errors = [m.start() for m in re.finditer(r'class="error"', text)]
    found = []
    for at in errors:
        before = text[:at]
        names = re.findall(r'name="([\w-]+)"', before)
        if names and names[-1] == field:
            found.append(re.sub(r"<.*", "", text[at + len('class="error">') :].split("</span>")[0]))
    return " ".join(found)


def refused(answer, kept, field):
    text = answer.content.decode()
    assert 400 <= answer.status_code < 410, answer.status_code
    assert text.count('role="alert"') == 1, "the reason stands once, at the top of the form"
    assert kept in text
    assert not field or about(text, field).strip(), f"nothing is said beside {field}"
    return text


@pytest.mark.parametrize(("name", "path", "data", "kept", "field"), CASES, ids=[f"{c[1]}-{c[4]}" for c in CASES])
def test_a_refused_form_keeps_what_was_typed(page_of, engineer, world, name, path, data, kept, field):
    facts = {
        "u": world.usecase.slug, "k": world.kpi.id, "e": world.endpoint.slug, "v": world.version.id, "d": world.live.id, "g": world.gate.id,
        "i": world.incident.id, "y": world.key.id, "p": world.phase.id,
    }  # fmt: skip
    answer = page_of(engineer).post(path.format(**facts), {key: value.replace("{", "{").format(**facts) for key, value in data.items()})
    text = refused(answer, kept, field)
    for key, value in data.items():
        if key in ("strategy", "direction", "level", "mode", "aggregation", "severity", "auto_roll_back"):
            assert f'<option value="{value}" selected>' in text, key


def test_a_refused_rate_card_keeps_what_was_typed(page_of, make_user):
    refused(page_of(make_user("admin")).post("/rates/", {"gpu_hour": "77.5", "currency": "USD"}), 'value="77.5"', "cpu_hour")


@pytest.mark.parametrize(
    ("path", "data", "kept", "field"),
    [("/people/", {"full_name": TYPED, "email": "", "password": "a long password of theirs"}, TYPED, "email"),
     ("/webhooks/", {"name": TYPED, "url": "nowhere"}, TYPED, "url"), ("/people/{person}/roles/", {"role": ""}, "", "role")],
)  # fmt: skip
def test_a_refused_form_of_an_administrator_keeps_what_was_typed(page_of, make_user, path, data, kept, field):
    person = make_user("auditor")
    text = refused(page_of(make_user("admin")).post(path.format(person=person.id), data), kept, field)
    assert "a long password of theirs" not in text


def test_a_key_that_is_retired_without_a_reason_says_so(page_of, make_user, system):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from apps.registry import services

    pem = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    key = services.trust_key(actor=system, name="Modelling", pem=pem.decode())
    text = refused(page_of(make_user("admin")).post(f"/signing-keys/{key.id}/retire/", {"because": " "}), "because", "")
    key.refresh_from_db()
    assert key.retired_at is None and "trusted no more" in text


def test_a_refused_webhook_keeps_the_address_that_was_typed(page_of, make_user, system):
    from apps.notices import services

    row, _ = services.add_webhook(actor=system, name="CI", url="https://ci.example.org/hook")
    refused(page_of(make_user("admin")).post(f"/webhooks/{row.id}/change/", {"name": "CI", "url": "nowhere"}), 'value="nowhere"', "url")


def test_a_refused_change_of_password_stands_at_its_form_and_gives_none_back(page_of, make_user):
    given = {"old": "wrong horse", "password": "wrong horse", "current": "wrong horse", "new": "another long horse"}
    text = page_of(make_user("auditor")).post("/account/password/", given).content.decode()
    assert "wrong horse" not in text and "another long horse" not in text and text.count('role="alert"') == 1
    assert text.index("Change my password") < text.index('role="alert"')


def test_a_refused_sign_in_keeps_the_address_and_not_the_password(client, make_user):
    make_user("auditor", email="ann@example.org")
    text = client.post("/sign-in/", {"email": "ann@example.org", "password": "wrong horse"}).content.decode()
    assert 'role="alert"' in text and 'value="ann@example.org"' in text and "wrong horse" not in text


def test_a_refused_signature_keeps_the_words_and_not_the_password(page_of, make_user, engineer, actor_of, world):
    gate = _asked(world, actor_of, engineer)
    browser = page_of(make_user("approver:business"))
    given = {
        "function": "business",
        "meaning": "approved",
        "comment": TYPED,
        "evidence_digest": gate.evidence_digest,
        "password": "wrong horse",
    }
    text = refused(browser.post(f"/gates/{gate.id}/sign/", given), TYPED, "password")
    assert "wrong horse" not in text
    text = refused(
        browser.post(f"/gates/{gate.id}/sign/", given | {"meaning": "rejected", "comment": " ", "password": PASSWORD}), "", "comment"
    )
    assert PASSWORD not in text


def test_a_refused_revocation_names_the_reason(page_of, make_user, engineer, actor_of, world):
    gate = _asked(world, actor_of, engineer)
    person = make_user("approver:business")
    approvals.sign_gate(
        actor=actor_of(person),
        gate_id=gate.id,
        function="business",
        meaning="approved",
        comment="",
        evidence_digest=gate.evidence_digest,
        password=PASSWORD,
    )
    refused(page_of(person).post(f"/gates/{gate.id}/revoke/", {"reason": " "}), "", "reason")


def test_what_is_refused_because_its_form_is_gone_is_said_at_the_top(page_of, engineer, elena, world):
    approvals.withdraw(actor=elena, gate_id=world.gate.id)
    answer = page_of(engineer).post(f"/gates/{world.gate.id}/withdraw/", {"reason": TYPED})
    assert answer.status_code == 409 and "was taken back" in answer.content.decode()


def test_no_form_is_left_out():
    """Each address that a template posts to is refused above, or has nothing to type."""
    found = set()
    for template in Path("templates").rglob("*.html"):
        for tag in re.findall(r"<form[^>]*method=\"post\"[^>]*>", template.read_text()):
            found |= set(re.findall(r"\{% url '([\w:-]+)'", tag))
    known = {case[0] for case in CASES} | ELSEWHERE | NOTHING_TO_TYPE
    assert found and found <= known, found - known
