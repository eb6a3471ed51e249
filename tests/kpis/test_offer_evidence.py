"""The checks that KPIs offer to gates."""

from datetime import timedelta

import pytest

from apps.core import clock
from apps.core.errors import Invalid
from apps.core.evidence import EvidenceSubject
from apps.kpis import services
from apps.kpis.evidence import CHECKS
from tests.kpis.conftest import START

pytestmark = pytest.mark.django_db


def run(name, usecase, as_of=None, label="outreach/1", **parameters):
    return CHECKS[name].run(EvidenceSubject(usecase_id=str(usecase.id), model_version_label=label, as_of=as_of), parameters)


def test_defined_counts_and_asks_for_target_floor_and_a_primary_one(usecase, define):
    assert run("kpis.defined", usecase).state == "missing"
    define()
    define(name="Second", primary=False)
    assert run("kpis.defined", usecase).state == "fail"
    define(name="Third", primary=False, target=None)
    assert "third" in run("kpis.defined", usecase).found
    define(name="Fourth", primary=False)
    assert run("kpis.defined", usecase, minimum=1, maximum=3).state == "fail"


def test_defined_passes_when_all_is_there_and_notices_a_moved_target(usecase, define, owner, actor_of):
    kpis = [define(name=name, primary=name == "A") for name in "ABC"]
    before = run("kpis.defined", usecase)
    assert (before.state, before.figure, before.threshold) == ("pass", 3.0, 3.0)
    services.change_kpi(actor=actor_of(owner), kpi_id=kpis[0].id, target=1.0)
    assert run("kpis.defined", usecase).source_digest != before.source_digest


def test_the_baseline_is_asked_of_primary_ones_or_of_every_one(usecase, measured, define):
    assert run("kpis.baseline_frozen", usecase).state == "pass"
    define(name="Other", primary=False)
    assert run("kpis.baseline_frozen", usecase).state == "pass"
    every = run("kpis.baseline_frozen", usecase, every=True)
    assert every.state == "missing" and "other" in every.found


def test_the_lower_end_of_the_interval_has_to_clear_the_bound(usecase, measured):
    result = run("kpis.effect", usecase, minimum_pct=20)
    assert result.state == "pass" and result.figure >= 20 and "better (" in result.found and "n = 2,000" in result.found
    strict = run("kpis.effect", usecase, minimum_pct=29.9)
    assert strict.state == "fail" and strict.figure < 29.9 and "does not clear" in strict.detail


def test_a_version_without_measurements_is_missing_not_failing(usecase, measured):
    result = run("kpis.effect", usecase, label="outreach/2")
    assert result.state == "missing" and "Nothing has been measured" in result.detail


def test_worse_than_the_floor_fails_whatever_the_bound(usecase, measured, owner, actor_of):
    services.change_kpi(actor=actor_of(owner), kpi_id=measured.id, target=5000.0, floor=6000.0)
    assert "worse than its floor" in run("kpis.effect", usecase, minimum_pct=0).detail
    assert run("kpis.effect", usecase, minimum_pct=0, floor=False).state == "pass"


def test_later_measurements_leave_a_frozen_result_alone_and_corrections_show(usecase, measured, rows, owner, actor_of):
    as_of = START + timedelta(days=40)
    before = run("kpis.effect", usecase, as_of=as_of)
    services.record_measurements(actor=actor_of(owner), kpi_id=measured.id, rows=rows([50.0] * 5, start=40, version="outreach/1"))
    assert run("kpis.effect", usecase, as_of=as_of) == before
    assert run("kpis.effect", usecase) != before
    services.record_measurements(actor=actor_of(owner), kpi_id=measured.id, rows=rows([50.0], start=20, version="outreach/1"))
    assert run("kpis.effect", usecase, as_of=as_of).source_digest != before.source_digest


@pytest.fixture
def watched(measured, rows, owner, actor_of):
    """The same KPI, its 20 days measured again by the portal under outreach/2, and 5 more days under it given by a person."""
    batch = [r | {"source": "portal: Cost"} for r in rows([7.0, 7.5] * 10, start=20, version="outreach/2", prefix="monitor:m")]
    services.record_measurements(actor=actor_of(owner), kpi_id=measured.id, rows=batch, measured_from="labelled predictions")
    services.record_measurements(
        actor=actor_of(owner), kpi_id=measured.id, rows=rows([2.0] * 5, start=40, version="outreach/2", prefix="typed")
    )
    return measured


def test_the_effect_says_who_measured_it_and_whose_the_baseline_is(usecase, watched):
    given = run("kpis.effect", usecase)
    assert "recorded by Olga Owner, not measured by the portal (20 rows, n = 2,000)" in given.found
    mixed = run("kpis.effect", usecase, label="outreach/2")
    assert "80% measured by the portal from 2,000 labelled predictions, 20% recorded by Olga Owner, not measured" in mixed.found
    assert mixed.found.endswith("; baseline recorded by Olga Owner, not measured by the portal (20 rows, n = 2,000)")
    assert "recorded by Olga Owner" in run("kpis.baseline_frozen", usecase).found


def test_where_a_policy_asks_for_measured_rows_given_ones_do_not_count(usecase, watched):
    mixed, own = run("kpis.effect", usecase, label="outreach/2"), run("kpis.effect", usecase, label="outreach/2", origin="measured")
    assert own.state == "pass" and own.figure < mixed.figure and "from rows the portal measured itself" in own.asked
    assert "measured by the portal from 2,000 labelled predictions; left out: recorded by Olga Owner" in own.found
    given = run("kpis.effect", usecase, label="outreach/1", origin="measured")
    assert (
        given.state == "missing"
        and "Let a monitor of the endpoint measure this KPI" in given.detail
        and "left out: recorded by" in given.found
    )


def test_an_attested_baseline_is_told_as_such(usecase, define, owner, actor_of):
    kpi = define()
    services.freeze_baseline(
        actor=actor_of(owner),
        kpi_id=kpi.id,
        period_start=START,
        period_end=START + timedelta(days=9),
        attested_value=9.0,
        note="The desk says so.",
    )
    assert "attested by Olga Owner, not measured" in run("kpis.baseline_frozen", usecase).found


def test_unknown_and_wrong_parameters_are_refused_by_name(usecase):
    for wrong in ({"bound": 1}, {"minimum_pct": "ten"}, {"minimum_pct": 5000}, {"floor": 1}, {"origin": "typed"}):
        with pytest.raises(Invalid) as refused:
            run("kpis.effect", usecase, **wrong)
        assert next(iter(wrong)) in refused.value.errors


@pytest.fixture
def phases(usecase, owner, actor_of, system):
    """Three planned phases in production; opened(n, day) opens the nth then, by a decision as of a passed gate."""
    from datetime import date
    from uuid import uuid4

    from apps.decisions import services as decisions
    from apps.usecases import phase_selectors
    from apps.usecases import services as usecases
    from apps.usecases.models import RolloutPhase

    def decide(**changed):
        given = {
            "usecase_id": usecase.id, "kind": "stage", "stage_to": "", "environment": "", "model_version_id": None, "model_version_label": "",
            "artifact_digest": "", "gate_id": uuid4(), "evidence_digest": "sha256:" + "0" * 64, "valid_days": 1000,
        } | changed  # fmt: skip
        return decisions.issue(actor=system, **given)

    with clock.fixed(START):
        for step in ("poc", "pilot", "production"):
            usecases.promote(actor=system, usecase_id=usecase.id, to_stage=step, decision=decide(stage_to=step))
        made = [
            usecases.plan_phase(
                actor=actor_of(owner), usecase_id=usecase.id, name=name, percent=percent, planned_on=date(2026, 2, 1),
                entry_criteria="Trained.", closes_now=True,
            )
            for name, percent in (("North", 10), ("South", 20), ("Everybody", None))
        ]  # fmt: skip

    def opened(index, day):
        with clock.fixed(START + timedelta(days=day)):
            phase = RolloutPhase.objects.select_related("owner").get(id=made[index].id)
            decision = decide(kind="phase", phase_id=phase.id, phase_name=phase.name)
            usecases.open_phase(actor=system, phase_id=phase.id, decision=decision, signed=phase_selectors.facts(phase))

    return made, opened


def at_phase(usecase, phase, **parameters):
    subject = EvidenceSubject(usecase_id=str(usecase.id), phase_id=str(phase.id))
    return CHECKS["kpis.effect"].run(subject, {"floor": False, **parameters})


@pytest.fixture
def better_in_the_north(usecase, define, owner, actor_of, rows, phases):
    """30% better while North was the newest open phase (days 40 to 60), no better while South was (from day 60 on)."""
    made, opened = phases
    kpi = define()
    services.record_measurements(actor=actor_of(owner), kpi_id=kpi.id, rows=rows([10.0 + 0.1 * (i % 5) for i in range(20)]))
    services.freeze_baseline(actor=actor_of(owner), kpi_id=kpi.id, period_start=START, period_end=START + timedelta(days=20))
    north = rows([7.0 + 0.1 * (i % 5) for i in range(20)], start=40, version="outreach/1", prefix="n")
    south = rows([10.0 + 0.1 * (i % 5) for i in range(20)], start=60, version="outreach/1", prefix="s")
    services.record_measurements(actor=actor_of(owner), kpi_id=kpi.id, rows=[*north, *south])
    opened(0, 40)
    opened(1, 60)
    return made


def test_a_phase_gate_may_look_at_the_phase_before_at_a_named_one_or_at_any(usecase, better_in_the_north):
    everybody = better_in_the_north[2]
    previous = at_phase(usecase, everybody, minimum_pct=20, during="previous")
    assert previous.state == "fail" and "during phase “South”, 2026-03-02 to now" in previous.asked
    named = at_phase(usecase, everybody, minimum_pct=20, during="north")
    assert named.state == "pass" and "during phase “North”, 2026-02-10 to 2026-03-02" in named.asked and "n = 2,000" in named.found
    anyone = at_phase(usecase, everybody, minimum_pct=20, during="any earlier")
    assert anyone == named and at_phase(usecase, everybody, minimum_pct=20, during="any earlier").digest == anyone.digest
    assert at_phase(usecase, everybody, minimum_pct=60, during="any earlier").state == "fail"
    whole = at_phase(usecase, everybody, minimum_pct=1)
    assert "n = 4,000" in whole.found and "during" not in whole.asked


def test_the_phase_before_is_the_one_that_the_plan_puts_there(usecase, define, owner, actor_of, rows, phases):
    (_, _, everybody), opened = phases
    kpi = define()
    services.record_measurements(actor=actor_of(owner), kpi_id=kpi.id, rows=rows([10.0 + 0.1 * (i % 5) for i in range(20)]))
    services.freeze_baseline(actor=actor_of(owner), kpi_id=kpi.id, period_start=START, period_end=START + timedelta(days=20))
    better = rows([7.0 + 0.1 * (i % 5) for i in range(20)], start=40, version="outreach/1", prefix="n")
    services.record_measurements(actor=actor_of(owner), kpi_id=kpi.id, rows=better)
    opened(0, 40)
    unopened = at_phase(usecase, everybody, minimum_pct=20, during="previous")
    assert unopened.state == "missing" and "the phase before this one has not been opened" in unopened.detail, "South is, not North"
    assert at_phase(usecase, everybody, minimum_pct=20, during="any earlier").state == "pass"
    opened(1, 30)
    # As after a renewal of North with a break: it was opened last.
    assert "during phase “South”" in at_phase(usecase, everybody, minimum_pct=20, during="previous").asked


def test_only_phases_before_this_one_that_were_opened_count(usecase, better_in_the_north):
    north, south, everybody = better_in_the_north
    assert "has not been opened" in at_phase(usecase, north, during="any earlier").detail
    assert at_phase(usecase, south, minimum_pct=20, during="previous").state == "pass", "North is the one before South"
    later = at_phase(usecase, south, during="Everybody")
    assert later.state == "missing" and "the earlier phase “Everybody”" in later.detail
    assert at_phase(usecase, everybody, during="nowhere").state == "missing"


def test_a_closed_phase_is_looked_at_until_it_was_closed(usecase, better_in_the_north, system):
    from apps.usecases import services as usecases

    with clock.fixed(START + timedelta(days=50)):
        usecases.close_phase(actor=system, phase_id=better_in_the_north[0].id, reason="Odd answers.")
    result = at_phase(usecase, better_in_the_north[2], minimum_pct=20, during="North")
    assert result.state == "pass" and "2026-02-10 to 2026-02-20" in result.asked and "n = 1,000" in result.found


def test_a_gate_that_is_about_no_phase_has_none_before_it(usecase, measured):
    result = run("kpis.effect", usecase, during="previous")
    assert result.state == "missing" and "no rollout phase" in result.detail
