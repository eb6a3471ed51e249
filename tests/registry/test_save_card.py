"""Model cards."""

import pytest

from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.registry import rules, services

pytestmark = pytest.mark.django_db
FULL = dict.fromkeys(rules.CARD_FIELDS, "as agreed with care managers")


def test_a_saved_card_is_complete_counted_and_in_the_trail(ready, endpoint, make_user, actor_of, events):
    engineer = make_user("ml_engineer")
    row = ready(endpoint(engineer))
    card = services.save_card(actor=actor_of(engineer), version_id=row.id, **FULL)
    assert card.revision == 1 and card.updated_by == str(engineer) and not rules.missing_in_card(card)
    assert events("registry.card.saved", row.label)[0].facts["after"]["limitations"] == FULL["limitations"]


def test_saving_the_same_again_changes_nothing(ready, endpoint, make_user, actor_of, events):
    user = make_user("ml_engineer")
    row, engineer = ready(endpoint(user)), actor_of(user)
    services.save_card(actor=engineer, version_id=row.id, **FULL)
    assert services.save_card(actor=engineer, version_id=row.id, **FULL).revision == 1
    assert len(events("registry.card.saved", row.label)) == 1


def test_saving_over_somebody_elses_save_is_refused(ready, endpoint, make_user, actor_of):
    user = make_user("ml_engineer")
    row, engineer = ready(endpoint(user)), actor_of(user)
    services.save_card(actor=engineer, version_id=row.id, revision=0, limitations="weak on weekends")
    with pytest.raises(Conflict, match="Read it again"):
        services.save_card(actor=engineer, version_id=row.id, revision=0, limitations="none")


def test_an_engineer_does_not_write_the_card_of_somebody_elses_model(ready, make_user, actor_of):
    with pytest.raises(NotAllowed, match="Ask its owner"):
        services.save_card(actor=actor_of(make_user("ml_engineer")), version_id=ready().id, ethical="x")


@pytest.mark.parametrize("role", ["auditor", "approver:risk"])
def test_those_who_judge_a_card_do_not_write_it(ready, make_user, actor_of, role):
    with pytest.raises(NotAllowed):
        services.save_card(actor=actor_of(make_user(role)), version_id=ready().id, ethical="x")


def test_who_may_not_see_the_version_finds_none(ready, make_user, actor_of):
    with pytest.raises(NotFound):
        services.save_card(actor=actor_of(make_user("stakeholder")), version_id=ready().id, ethical="x")


def test_an_unknown_field_is_named(ready, system):
    with pytest.raises(Invalid, match="etical"):
        services.save_card(actor=system, version_id=ready().id, etical="x")
    with pytest.raises(Invalid, match="20,000"):
        services.save_card(actor=system, version_id=ready().id, ethical="x" * 20_001)
