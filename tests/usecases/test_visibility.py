"""Who sees which use case."""

import pytest

from apps.core.errors import NotFound
from apps.usecases import selectors, services
from apps.usecases.models import UseCase

pytestmark = pytest.mark.django_db


def sees(actor, usecase) -> bool:
    return UseCase.objects.visible_to(actor).filter(id=usecase.id).exists()


def test_owner_auditor_admin_and_the_portal_see_it_and_others_do_not(usecase, owner, make_user, actor_of, system):
    assert sees(actor_of(owner), usecase)
    assert sees(actor_of(make_user("auditor")), usecase)
    assert sees(actor_of(make_user("admin")), usecase)
    assert sees(system, usecase)
    for role in ("stakeholder", "ml_engineer", "approver:risk"):
        assert not sees(actor_of(make_user(role)), usecase)


def test_a_grant_lets_one_person_in_and_change_includes_view(usecase, owner, make_user, actor_of):
    reader, writer, other = make_user("ml_engineer"), make_user("ml_engineer"), make_user("ml_engineer")
    services.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=reader, level="view")
    services.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=writer, level="change", part="model owner")
    assert sees(actor_of(reader), usecase) and sees(actor_of(writer), usecase) and not sees(actor_of(other), usecase)
    assert not selectors.may_change(actor_of(reader), usecase.id)
    assert selectors.may_change(actor_of(writer), usecase.id)
    assert selectors.may_change(actor_of(owner), usecase.id)


def test_approvers_see_it_once_a_gate_needs_their_function(usecase, make_user, actor_of, system):
    risk, security = actor_of(make_user("approver:risk")), actor_of(make_user("approver:security"))
    services.open_to_functions(actor=system, usecase_id=usecase.id, functions=["risk", "business"])
    assert sees(risk, usecase) and not sees(security, usecase)
    assert services.open_to_functions(actor=system, usecase_id=usecase.id, functions=["risk"]) == []
    late = actor_of(make_user("approver:business"))
    assert sees(late, usecase), "somebody who gets the function later sees it too"


def test_an_auditor_may_read_but_not_change(usecase, make_user, actor_of):
    assert not selectors.may_change(actor_of(make_user("auditor")), usecase.id)


def test_by_id_by_slug_and_not_at_all(usecase, owner, make_user, actor_of):
    assert selectors.usecase(actor_of(owner), usecase.id) == selectors.usecase(actor_of(owner), "care-outreach") == usecase
    for ref in ("nothing", "00000000-0000-7000-8000-000000000000"):
        with pytest.raises(NotFound):
            selectors.usecase(actor_of(owner), ref)
    with pytest.raises(NotFound):
        selectors.usecase(actor_of(make_user("stakeholder")), usecase.id)
