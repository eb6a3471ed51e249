"""Writing down and changing a use case."""

import pytest

from apps.audit.models import Event
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.usecases import selectors, services
from apps.usecases.models import UseCase

pytestmark = pytest.mark.django_db


def test_a_new_use_case_begins_as_a_proposal_and_is_audited(usecase, owner):
    assert (usecase.stage, usecase.slug, usecase.owner) == ("proposal", "care-outreach", owner)
    event = Event.objects.get(action="usecases.usecase.created")
    assert event.usecase_id == usecase.id or str(event.usecase_id) == str(usecase.id)


def test_requirements_and_integrations_come_with_it(owner, actor_of):
    made = services.create_usecase(
        actor=actor_of(owner), name="Pumps", problem="They fail.", risk_tier="limited",
        requirements={"latency_p99_ms": 100, "availability_pct": 99.5, "concurrent_users": 40, "projected_rps": 10, "freshness_hours": 24},
        integrations=[{"name": "Register", "direction": "in", "note": "nightly"}],
    )  # fmt: skip
    assert selectors.requirements(made.id).projected_rps == 10
    assert [p.name for p in selectors.integrations(made.id)] == ["Register"]


def test_two_of_the_same_name_get_two_addresses(owner, actor_of):
    slugs = [services.create_usecase(actor=actor_of(owner), name="Pumps", problem="They fail.", risk_tier="minimal").slug for _ in range(3)]
    assert slugs == ["pumps", "pumps-2", "pumps-3"]


def test_auditors_only_read(make_user, actor_of):
    with pytest.raises(NotAllowed):
        services.create_usecase(actor=actor_of(make_user("auditor")), name="Pumps", problem="They fail.", risk_tier="minimal")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"problem": ""}, "problem"),
        ({"risk_tier": "huge"}, "risk_tier"),
        ({"currency": "Euro"}, "currency"),
        ({"requirements": {"latency_p99_ms": -1}}, "latency_p99_ms"),
        ({"requirements": {"latency": 1}}, "latency"),
        ({"requirements": {"availability_pct": 101}}, "availability_pct"),
        ({"requirements": {"concurrent_users": 1.5}}, "concurrent_users"),
        ({"requirements": {"projected_rps": float("nan")}}, "projected_rps"),
        ({"requirements": {"peak_factor": None}}, "peak_factor"),
        ({"integrations": [{"name": "", "direction": "in"}]}, "name"),
        ({"integrations": [{"name": "x", "direction": "up"}]}, "direction"),
    ],
)
def test_bad_input_names_the_field_and_stores_nothing(owner, actor_of, changed, field):
    given = {"name": "Pumps", "problem": "They fail.", "risk_tier": "minimal"} | changed
    with pytest.raises(Invalid) as refused:
        services.create_usecase(actor=actor_of(owner), **given)
    assert field in refused.value.errors
    assert not UseCase.objects.exists()


def test_a_closed_account_owns_nothing(owner, make_user, actor_of, system):
    from apps.accounts import services as accounts

    gone = accounts.deactivate_user(actor=system, user_id=make_user("stakeholder").id)
    with pytest.raises(Invalid, match="owner"):
        services.create_usecase(actor=actor_of(owner), name="Pumps", problem="They fail.", risk_tier="minimal", owner=gone)


def test_changing_writes_what_it_was_and_what_it_is(usecase, owner, actor_of):
    services.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, problem="Calls come too late.")
    services.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, problem="Calls come too late.")
    usecase.refresh_from_db()
    assert usecase.problem == "Calls come too late."
    assert Event.objects.filter(action="usecases.usecase.changed").count() == 1, "the same words again change nothing"


def test_the_stage_cannot_be_changed_like_a_word(usecase, owner, actor_of):
    with pytest.raises(Invalid, match="stage"):
        services.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, stage="production")


def test_strangers_see_nothing_and_readers_cannot_change(usecase, owner, make_user, actor_of):
    stranger, reader = make_user("stakeholder"), make_user("stakeholder")
    with pytest.raises(NotFound):
        services.update_usecase(actor=actor_of(stranger), usecase_id=usecase.id, problem="Mine.")
    services.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=reader, level="view")
    with pytest.raises(NotAllowed):
        services.update_usecase(actor=actor_of(reader), usecase_id=usecase.id, problem="Mine.")


def test_an_integration_point_is_named_once(usecase, owner, actor_of):
    services.add_integration(actor=actor_of(owner), usecase_id=usecase.id, name="Register", direction="both")
    with pytest.raises(Conflict, match="named already"):
        services.add_integration(actor=actor_of(owner), usecase_id=usecase.id, name="Register", direction="in")


def test_linking_a_model_twice_changes_nothing(usecase, owner, make_user, actor_of, model):
    engineer = make_user("ml_engineer")
    services.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=engineer, level="change")
    for _ in range(2):
        services.link_model(actor=actor_of(engineer), usecase_id=usecase.id, model_name="care-outreach")
    assert selectors.model_names(usecase.id) == ["care-outreach"]
    assert Event.objects.filter(action="usecases.model.linked").count() == 1
    assert [m.id for m in type(model).objects.visible_to(actor_of(owner))] == [model.id]


def test_a_model_that_one_may_not_see_cannot_be_linked(usecase, owner, actor_of, model):
    with pytest.raises(NotFound, match="no registered model"):
        services.link_model(actor=actor_of(owner), usecase_id=usecase.id, model_name="care-outreach")
