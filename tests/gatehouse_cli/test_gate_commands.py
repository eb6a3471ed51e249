"""Gates, waivers and delegations on the command line, against a live portal: JSON out, and an exit code that says how it stands."""

import io
import json

import pytest

from gatehouse_cli import client
from tests.approvals.conftest import (  # noqa: F401
    at_stage,
    business,
    engineer,
    owner,
    pilot_gate,
    policies,
    risk,
    security,
    sign,
    usecase,
    version,
)
from tests.conftest import PASSWORD

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def command(live_server, actor_of, monkeypatch, capsys):
    """command(person, "gate", "status", ...) -> (exit code, answer or refusal); `typed` is what they type when asked."""
    from apps.accounts import services

    tokens = {}

    def run(person, *words, typed=""):
        if person.id not in tokens:
            tokens[person.id] = services.issue_token(actor=actor_of(person), user=person, name="cli", scopes=["read", "write"])[1]
        monkeypatch.setenv("GATEHOUSE_URL", live_server.url)
        monkeypatch.setenv("GATEHOUSE_TOKEN", tokens[person.id])
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = client.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, json.loads(out or err or "null")

    return run


def test_status_follows_a_gate_to_its_decision_and_beyond(command, pilot_gate, engineer, business, risk, sign, system):  # noqa: F811
    from apps.approvals import services

    code, said = command(engineer, "gate", "status", pilot_gate.id)
    assert code == client.TOO_LATE and not said["passed"] and said["wanted"] == {"business": 1, "risk": 1}
    sign(pilot_gate, business, "business")
    sign(pilot_gate, risk, "risk")
    named = ("gate", "status", "--usecase", "care-outreach", "--to-stage", "pilot", "--version", "outreach/1")
    code, said = command(engineer, *named)
    assert code == client.DONE and said["passed"] and said["artifact_digest"] == "sha256:" + "a" * 64 and said["expires_at"]
    assert command(engineer, *named, "--artifact-digest", "sha256:" + "b" * 64)[0] == client.REFUSED
    pilot_gate.refresh_from_db()
    services.revoke_decision(actor=system, decision_id=pilot_gate.decision_id, reason="A mistake.")
    code, said = command(engineer, *named)
    assert code == client.REFUSED and "revoked" in said["why_not"].lower()


def test_status_of_a_refused_gate_and_of_none(command, pilot_gate, engineer, risk, sign, make_user):  # noqa: F811
    sign(pilot_gate, risk, "risk", meaning="rejected", comment="Too dear.", would_change="Half the cost.")
    code, said = command(engineer, "gate", "status", pilot_gate.id, "--wait", "--timeout", "5")
    assert code == client.REFUSED and said["state"] == "rejected"
    assert command(engineer, "gate", "status", "--usecase", "care-outreach", "--to-stage", "production")[0] == client.NOT_FOUND
    assert command(engineer, "gate", "status")[0] == client.USAGE
    assert command(make_user("stakeholder"), "gate", "status", pilot_gate.id)[0] == client.NOT_FOUND


def test_evidence_is_whole_until_its_source_changes(command, pilot_gate, engineer, owner, actor_of, usecase):  # noqa: F811
    from apps.usecases import services

    code, said = command(engineer, "gate", "evidence", pilot_gate.id)
    assert code == client.DONE and said["frozen"] and said["digest"] == pilot_gate.evidence_digest
    services.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, name="Care outreach, wider")
    code, said = command(engineer, "gate", "evidence", pilot_gate.id)
    assert code == client.REFUSED and said["changes"][0]["what"] == "Use case: name"


def test_a_draft_goes_on_with_a_waiver_from_the_command_line(command, policies, usecase, engineer, risk, business):  # noqa: F811
    code, gate = command(engineer, "gate", "open", "--usecase", usecase.slug, "--to-stage", "poc")
    assert code == client.DONE
    code, said = command(engineer, "gate", "evidence", gate["id"])
    assert code == client.REFUSED and not said["frozen"] and list(said["open_points"]) == ["described"]
    assert command(engineer, "gate", "request", gate["id"])[0] == client.CONFLICT
    ask = ("waiver", "ask", gate["id"], "--subject", "described", "--reason", "Written on Friday.", "--until")
    assert command(engineer, *ask, "2001-01-01T00:00:00Z")[0] == client.REFUSED
    from datetime import timedelta

    from apps.core.clock import now

    code, waiver = command(engineer, *ask, (now() + timedelta(days=5)).isoformat())
    assert code == client.DONE and waiver["state"] == "asked"
    assert command(risk, "waiver", "grant", waiver["id"], typed="not the password\n")[0] == client.NOT_ALLOWED
    code, waiver = command(risk, "waiver", "grant", waiver["id"], "--comment", "For a week.", typed=f"{PASSWORD}\n")
    assert code == client.DONE and waiver["state"] == "signed" and waiver["printed_name"] == "Rita Risk"
    assert [w["id"] for w in command(engineer, "waiver", "list", gate["id"])[1]] == [waiver["id"]]
    assert command(engineer, "gate", "request", gate["id"])[0] == client.DONE
    assert command(engineer, "gate", "comment", gate["id"], "--text", "Ready.", "--kind", "question")[0] == client.DONE
    assert [c["text"] for c in command(business, "gate", "comments", gate["id"])[1]] == ["Ready."]


def test_an_absence_is_written_down_used_and_ended(command, pilot_gate, risk, make_user):  # noqa: F811
    from datetime import timedelta

    from apps.core.clock import now

    other = make_user("stakeholder", name="Sven Stand-in")
    give = ("delegation", "give", "--delegate", other.email, "--function", "risk", "--reason", "Away.")
    times = ("--starts-at", (now() - timedelta(hours=1)).isoformat(), "--ends-at", (now() + timedelta(days=2)).isoformat())
    code, row = command(risk, *give, *times)
    assert code == client.DONE and row["delegate"] == other.email
    signing = ("gate", "sign", pilot_gate.id, "--function", "risk", "--meaning", "approved", "--evidence-digest", pilot_gate.evidence_digest)
    assert command(other, *signing, typed=f"{PASSWORD}\n")[0] == client.NOT_ALLOWED
    code, gate = command(other, *signing, "--on-behalf-of", risk.id, typed=f"{PASSWORD}\n")
    assert code == client.DONE and gate["wanted"] == {"business": 1}
    code, row = command(risk, "delegation", "end", row["id"])
    assert code == client.DONE and row["ended_at"]
    assert [r["id"] for r in command(other, "delegation", "list")[1]] == [row["id"]]
