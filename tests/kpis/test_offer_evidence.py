"""The checks that KPIs offer to gates."""

from datetime import timedelta

import pytest

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
