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


def test_unknown_and_wrong_parameters_are_refused_by_name(usecase):
    for wrong in ({"bound": 1}, {"minimum_pct": "ten"}, {"minimum_pct": 5000}, {"floor": 1}):
        with pytest.raises(Invalid) as refused:
            run("kpis.effect", usecase, **wrong)
        assert next(iter(wrong)) in refused.value.errors
