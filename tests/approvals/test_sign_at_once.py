"""Truly concurrent signers on PostgreSQL, as the application's own role: one decision, whoever comes first."""

import os
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import pytest

from tests.conftest import PASSWORD

SIGNERS, ROUNDS = 50, 20


def _drop(connection, name: str) -> None:
    from django.db import DatabaseError

    for rest in range(50, -1, -1):
        try:
            with connection._nodb_cursor() as cursor:
                cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            return
        except DatabaseError:
            if not rest:
                raise
            time.sleep(0.1)


@pytest.fixture
def as_application(transactional_db):
    """A copy of the test database with the roles' grants; call it to go on as `gatehouse_web` where that role is to be had."""
    from django.core.management import call_command
    from django.db import connection, connections

    template, owner = connection.settings_dict["NAME"], (connection.settings_dict["USER"], connection.settings_dict["PASSWORD"])
    name = f"{template}_signers_{os.getpid()}"
    connections.close_all()
    with connection._nodb_cursor() as cursor:
        # Threads of an earlier test (a live server's) may still keep a session, and a template must have none.
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND usename = current_user", [template]
        )
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    connection.settings_dict["NAME"] = name

    def switch() -> None:
        call_command("grant_roles", verbosity=0)
        connections.close_all()
        web = urlsplit(os.environ.get("GATEHOUSE_WEB_DATABASE_URL", ""))
        if web.username:
            connection.settings_dict["USER"], connection.settings_dict["PASSWORD"] = web.username, web.password

    try:
        yield switch
    finally:
        connections.close_all()
        connection.settings_dict["NAME"] = template
        connection.settings_dict["USER"], connection.settings_dict["PASSWORD"] = owner
        _drop(connection, name)
        connections.close_all()


def all_at_once(calls):
    """Run the calls in threads that start together; returns what each returned or raised."""
    from django.db import connections

    barrier, outcomes = threading.Barrier(len(calls)), [None] * len(calls)

    def run(index, call):
        try:
            barrier.wait()
            outcomes[index] = call()
        except Exception as error:
            outcomes[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(i, c)) for i, c in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


def names(outcomes) -> Counter:
    return Counter(type(o).__name__ for o in outcomes)


@pytest.mark.long
def test_fifty_signers_at_once_make_one_decision_in_each_of_twenty_rounds(as_application, policies, usecase, owner, engineer, actor_of, make_user):
    from apps.approvals import doors, services
    from apps.approvals.models import Gate, Signature
    from apps.audit.models import Event
    from apps.decisions.models import Decision
    from apps.usecases.models import StageMove

    people = [actor_of(make_user("approver:business")) for _ in range(SIGNERS)]
    requester, answers = actor_of(engineer), actor_of(owner)
    as_application()
    for round_number in range(ROUNDS):
        gate = services.open_gate(actor=requester, usecase_id=usecase.id, to_stage="poc")
        services.attest(actor=answers, gate_id=gate.id, item="described", answer="yes", note="Yes.")
        gate = services.request_gate(actor=requester, gate_id=gate.id)
        calls = [
            lambda actor=actor, gate=gate: doors.sign(
                actor=actor, gate_id=gate.id, function="business", meaning="approved", comment="", evidence_digest=gate.evidence_digest,
                password=PASSWORD,
            )
            for actor in people
        ]  # fmt: skip
        outcomes = all_at_once(calls)
        assert names(outcomes) == {"Gate": 1, "Conflict": SIGNERS - 1}, outcomes
        gate.refresh_from_db()
        assert gate.state == "approved"
        assert Signature.objects.filter(gate=gate).count() == Decision.objects.filter(gate_id=gate.id).count() == 1
        assert Event.objects.filter(action="decisions.decision.issued", usecase_id=usecase.id).count() == 1
        assert StageMove.objects.filter(usecase=usecase).count() == 1
        # The next round takes a use case that is a proposal again.
        from apps.usecases import services as usecases

        usecase = usecases.create_usecase(
            actor=answers, name=f"Round {round_number}", problem="Again.", risk_tier="high", decision_supported="D.", output_users="U.", sponsor=owner,
            integrations=[{"name": "Register", "direction": "in"}],
        )  # fmt: skip
        usecases.give_access(actor=answers, usecase_id=usecase.id, user=engineer, level="change")
    assert Gate.objects.filter(state="approved").count() == StageMove.objects.count() == ROUNDS


def test_a_double_click_signs_once_and_two_functions_finish_together(as_application, pilot_gate, business, risk, actor_of):
    from apps.approvals import doors
    from apps.approvals.models import Signature
    from apps.decisions.models import Decision

    actors = {"business": actor_of(business), "risk": actor_of(risk)}
    as_application()
    given = {"meaning": "approved", "comment": "", "evidence_digest": pilot_gate.evidence_digest, "password": PASSWORD}
    calls = [
        lambda f=function, a=actor: doors.sign(actor=a, gate_id=pilot_gate.id, function=f, **given)
        for function, actor in actors.items()
        for _ in range(3)
    ]
    outcomes = all_at_once(calls)
    assert names(outcomes) == {"Gate": 2, "Conflict": 4}, outcomes
    pilot_gate.refresh_from_db()
    assert pilot_gate.state == "approved" and Signature.objects.count() == 2
    assert Decision.objects.filter(gate_id=pilot_gate.id).count() == 1


def test_approving_and_refusing_at_once_end_in_exactly_one_of_them(as_application, pilot_gate, business, risk, actor_of):
    from apps.approvals import doors
    from apps.decisions.models import Decision

    actors = {"business": actor_of(business), "risk": actor_of(risk)}
    as_application()
    given = {"comment": "Words.", "evidence_digest": pilot_gate.evidence_digest, "password": PASSWORD}
    all_at_once(
        [
            lambda: doors.sign(actor=actors["business"], gate_id=pilot_gate.id, function="business", meaning="approved", **given),
            lambda: doors.sign(actor=actors["risk"], gate_id=pilot_gate.id, function="risk", meaning="rejected", would_change="More.", **given),
        ]
    )
    pilot_gate.refresh_from_db()
    assert pilot_gate.state == "rejected" and not Decision.objects.filter(gate_id=pilot_gate.id).exists()


def test_a_wrong_password_is_counted_and_audited_after_the_call_rolled_back(as_application, poc_gate, business, actor_of):
    from apps.accounts.models import SignInAttempt
    from apps.approvals import doors
    from apps.approvals.models import Signature
    from apps.audit.models import Event
    from apps.core.errors import CredentialsRefused

    actor = actor_of(business)
    as_application()
    with pytest.raises(CredentialsRefused):
        doors.sign(
            actor=actor,
            gate_id=poc_gate.id,
            function="business",
            meaning="approved",
            evidence_digest=poc_gate.evidence_digest,
            password="wrong",
        )
    assert SignInAttempt.objects.count() == 1 and not Signature.objects.exists()
    # The trail is append-only, so other tests' events are there too.
    event = Event.objects.get(action="accounts.session.refused", payload__contains=f"signature of gate {poc_gate.id}")
    assert "wrong" not in event.payload


def test_two_moves_by_one_decision_at_once_move_once(as_application, usecase, system):
    import uuid

    from apps.core.doors import call
    from apps.decisions import services as decisions
    from apps.usecases import services
    from apps.usecases.models import StageMove

    as_application()
    decision = decisions.issue(
        actor=system, usecase_id=usecase.id, kind="stage", stage_to="poc", environment="", model_version_id=None, model_version_label="",
        artifact_digest="", gate_id=uuid.uuid4(), evidence_digest="sha256:0", valid_days=3,
    )  # fmt: skip
    outcomes = all_at_once([lambda: call(services.promote, actor=system, usecase_id=usecase.id, to_stage="poc", decision=decision)] * 4)
    assert names(outcomes) == {"UseCase": 1, "Conflict": 3}, outcomes
    assert StageMove.objects.count() == 1


def _signing(gate, actor, function, **more):
    from apps.approvals import doors

    given = {"meaning": "approved", "comment": "", "evidence_digest": gate.evidence_digest, "password": PASSWORD} | more
    return lambda: doors.sign(actor=actor, gate_id=gate.id, function=function, **given)


def test_the_same_approver_in_many_tabs_signs_once(as_application, pilot_gate, risk, actor_of):
    from apps.approvals.models import Signature

    actor = actor_of(risk)
    as_application()
    assert names(all_at_once([_signing(pilot_gate, actor, "risk")] * 8)) == {"Gate": 1, "Conflict": 7}
    assert Signature.objects.filter(gate=pilot_gate, signer=risk).count() == 1


def test_an_approver_who_loses_the_role_while_signing_has_signed_before_or_not_at_all(as_application, policies, usecase, owner, engineer, actor_of, make_user, system):
    """Whichever comes first: the trail never shows the signature after the removal."""
    from apps.accounts import services as accounts
    from apps.approvals import services
    from apps.approvals.models import Signature
    from apps.audit.models import Event
    from apps.core.doors import call

    people = [make_user("approver:business") for _ in range(6)]
    actors = [actor_of(p) for p in people]
    requester, answers = actor_of(engineer), actor_of(owner)
    as_application()
    gate = services.open_gate(actor=requester, usecase_id=usecase.id, to_stage="poc")
    services.attest(actor=answers, gate_id=gate.id, item="described", answer="yes", note="Yes.")
    gate = services.request_gate(actor=requester, gate_id=gate.id)
    for person, actor in zip(people, actors, strict=True):
        remove = lambda person=person: call(accounts.remove_role, actor=system, user=person, role="approver", function="business")  # noqa: E731
        signed, removed = all_at_once([_signing(gate, actor, "business", meaning="abstain", comment="Racing."), remove])
        assert removed is None, removed
        assert type(signed).__name__ in ("Gate", "NotAllowed"), signed
        there = Signature.objects.filter(gate=gate, signer=person).exists()
        assert there == (type(signed).__name__ == "Gate")
        if there:
            removal = Event.objects.filter(action="accounts.role.removed", object_id=str(person.id)).get()
            act = Event.objects.filter(action="approvals.gate.signed", actor_id=f"user:{person.id}").get()
            assert act.occurred_at <= removal.occurred_at


def test_a_requester_who_also_holds_the_role_never_gets_in_beside_others(as_application, pilot_gate, engineer, business, risk, actor_of, system):
    from apps.accounts import services as accounts
    from apps.approvals.models import Signature

    for function in ("business", "risk"):
        accounts.assign_role(actor=system, user=engineer, role="approver", function=function)
    theirs, others = actor_of(engineer), {"business": actor_of(business), "risk": actor_of(risk)}
    as_application()
    calls = [_signing(pilot_gate, theirs, f) for f in others for _ in range(3)] + [_signing(pilot_gate, a, f) for f, a in others.items()]
    found = names(all_at_once(calls))
    assert found["Gate"] == 2 and found["FourEyesRequired"] + found["Conflict"] == 6, found
    pilot_gate.refresh_from_db()
    assert pilot_gate.state == "approved" and not Signature.objects.filter(signer=engineer).exists()


def test_an_absent_approver_and_their_delegate_at_once_are_one_voice(as_application, pilot_gate, risk, make_user, actor_of):
    from datetime import timedelta

    from apps.approvals import services
    from apps.approvals.models import Signature
    from apps.core.clock import now

    delegate = make_user("stakeholder")
    services.delegate(
        actor=actor_of(risk), delegate=delegate, function="risk", starts_at=now() - timedelta(hours=1), ends_at=now() + timedelta(days=1),
        reason="Away.",
    )  # fmt: skip
    own, stand_in = actor_of(risk), actor_of(delegate)
    as_application()
    calls = [_signing(pilot_gate, own, "risk"), _signing(pilot_gate, stand_in, "risk", on_behalf_of=risk.id)] * 3
    assert names(all_at_once(calls)) == {"Gate": 1, "Conflict": 5}
    assert Signature.objects.filter(gate=pilot_gate).count() == 1


def test_two_who_delegate_to_each_other_at_once_do_not_make_a_circle(as_application, make_user, actor_of):
    from datetime import timedelta

    from apps.approvals import services
    from apps.approvals.models import Delegation
    from apps.core.clock import now
    from apps.core.doors import call

    first, second = make_user("approver:risk"), make_user("approver:risk")
    actors = [actor_of(first), actor_of(second)]
    as_application()
    terms = {"function": "risk", "starts_at": now(), "ends_at": now() + timedelta(days=1), "reason": "Away."}
    outcomes = all_at_once(
        [
            lambda: call(services.delegate, actor=actors[0], delegate=second, **terms),
            lambda: call(services.delegate, actor=actors[1], delegate=first, **terms),
        ]
    )
    assert names(outcomes) == {"Delegation": 1, "Conflict": 1}, outcomes
    assert Delegation.objects.count() == 1


def test_two_policy_owners_publish_the_same_version_once(as_application, make_user, actor_of):
    from apps.approvals import doors
    from apps.approvals.models import PolicyVersion
    from tests.approvals.conftest import policy

    actors = [actor_of(make_user("policy_owner")) for _ in range(4)]
    # So many sign for the business that each of the policies can be met.
    for _ in range(4):
        make_user("approver:business")
    texts = [policy("proposal_poc", {"business": n + 1}, checks=[{"check": "usecases.complete"}]) for n in range(4)]
    as_application()
    outcomes = all_at_once([lambda a=a, t=t: doors.publish(actor=a, text=t, password=PASSWORD) for a, t in zip(actors, texts, strict=True)])
    assert names(outcomes) == {"tuple": 1, "Conflict": 3}, outcomes
    assert PolicyVersion.objects.count() == 1


def test_a_delegation_that_ends_while_the_delegate_signs_has_counted_before_or_not_at_all(as_application, pilot_gate, make_user, actor_of):
    from datetime import timedelta

    from apps.approvals import services
    from apps.approvals.models import Signature
    from apps.audit.models import Event
    from apps.core.clock import now
    from apps.core.doors import call

    rows = []
    for _ in range(4):
        away, stand_in = make_user("approver:risk"), make_user("stakeholder")
        times = {"starts_at": now() - timedelta(hours=1), "ends_at": now() + timedelta(days=1)}
        rows.append((away, stand_in, services.delegate(actor=actor_of(away), delegate=stand_in, function="risk", reason="Away.", **times)))
    actors = [(actor_of(away), actor_of(stand_in)) for away, stand_in, _ in rows]
    as_application()
    for (away, stand_in, row), (own, theirs) in zip(rows, actors, strict=True):
        end = lambda own=own, row=row: call(services.end_delegation, actor=own, delegation_id=row.id)  # noqa: E731
        signing = _signing(pilot_gate, theirs, "risk", meaning="abstain", comment="Racing.", on_behalf_of=away.id)
        signed, ended = all_at_once([signing, end])
        assert type(ended).__name__ == "Delegation", ended
        assert type(signed).__name__ in ("Gate", "NotAllowed", "NotFound"), signed
        there = Signature.objects.filter(gate=pilot_gate, signer=stand_in).exists()
        assert there == (type(signed).__name__ == "Gate")
        if there:
            act = Event.objects.filter(action="approvals.gate.signed", actor_id=f"user:{stand_in.id}").get()
            end_event = Event.objects.filter(action="approvals.delegation.ended", object_id=str(row.id)).get()
            assert act.occurred_at <= end_event.occurred_at
