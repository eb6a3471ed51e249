"""Truly concurrent signers on PostgreSQL, as the application's own role: one decision, whoever comes first."""

import os
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import pytest

from tests.conftest import PASSWORD

SIGNERS, ROUNDS = 12, 4


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


def test_many_signers_at_once_make_one_decision(as_application, policies, usecase, owner, engineer, actor_of, make_user):
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
    event = Event.objects.get(action="accounts.session.refused")
    assert f"signature of gate {poc_gate.id}" in event.payload and "wrong" not in event.payload


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
