"""What a use case is worth, minus what it costs."""

from datetime import timedelta
from decimal import Decimal

import pytest

from apps.core.errors import Invalid, NotAllowed
from apps.kpis import selectors, services
from tests.kpis.conftest import START

pytestmark = pytest.mark.django_db


def sign_off(actor, kpi, **changed):
    return services.set_value_conversion(
        actor=actor, kpi_id=kpi.id, **({"value_per_unit": Decimal(1), "currency": "USD", "per_n": 1000} | changed)
    )


def cost(actor, usecase, amount="1.5", **changed):
    given = {
        "period_start": START, "period_end": START + timedelta(days=1), "amount": Decimal(amount), "currency": "USD", "source": "meter",
        "external_id": "day-1",
    } | changed  # fmt: skip
    return services.record_cost(actor=actor, usecase_id=usecase.id, **given)


def test_value_is_effect_times_volume_times_money(measured, usecase, owner, actor_of):
    sign_off(actor_of(owner), measured)
    found = selectors.value(usecase)
    effect = selectors.effect(measured)
    assert found["value"] == pytest.approx(-effect.difference * 2000 / 1000)
    assert found["low"] < found["value"] < found["high"]
    assert found["cost"] is None and found["net"] is None, "nothing is metered yet, and that is not zero"
    assert sum(m["value"] for m in found["kpis"][0]["months"]) == pytest.approx(found["value"], rel=0.02)


def test_rows_that_somebody_gave_are_told_apart_from_what_the_portal_measured(measured, usecase, owner, actor_of, system, rows, api):
    sign_off(actor_of(owner), measured)
    given = selectors.value(usecase)
    assert given["value"] > 0 and given["measured"] is None and [o.origin for o in given["kpis"][0]["origins"]] == ["given"]
    batch = [{**r, "external_id": f"monitor:{i}"} for i, r in enumerate(rows([7.0, 7.2, 6.9, 7.1] * 3, start=40, version="outreach/1"))]
    services.record_measurements(actor=system, kpi_id=measured.id, measured_from="labelled predictions", rows=batch)
    # Somebody types one row with a huge n under a version that exists.
    typed = rows([1.0], start=60, version="outreach/1", prefix="typed", n=10_000_000)
    services.record_measurements(actor=actor_of(owner), kpi_id=measured.id, rows=typed)
    found = selectors.value(usecase)
    [entry] = found["kpis"]
    assert found["value"] > 1_000 * found["measured"] > 0
    own = 1200 / 1000 * (selectors.baseline_in_force(measured.id).value - 7050.0)
    assert found["measured"] == entry["measured"] == pytest.approx(own)
    assert [o.origin for o in entry["origins"]] == ["measured", "given"] and entry["origins"][1].share > 0.99
    said = api(owner).get(f"/api/v1/usecases/{usecase.slug}/value/").json()
    assert said["measured"] == pytest.approx(own) and said["kpis"][0]["origins"][1]["by"] == entry["origins"][1].by


def test_cost_is_taken_off_and_repeats_count_once(measured, usecase, owner, actor_of):
    sign_off(actor_of(owner), measured)
    for _ in range(2):
        cost(actor_of(owner), usecase)
    cost(actor_of(owner), usecase, "2.5", external_id="day-2")
    found = selectors.value(usecase)
    assert found["cost"] == pytest.approx(4.0) and found["net"] == pytest.approx(found["value"] - 4.0)


def test_without_a_signed_conversion_there_is_no_value(measured, usecase):
    found = selectors.value(usecase)
    assert found["kpis"] == [] and found["value"] is None


def test_another_currency_is_shown_and_not_added_up(measured, usecase, owner, actor_of):
    sign_off(actor_of(owner), measured, currency="EUR")
    found = selectors.value(usecase)
    assert found["value"] is None and found["kpis"][0]["value"] is not None and "EUR" in found["kpis"][0]["detail"]


def test_the_newest_conversion_is_in_force(measured, usecase, owner, actor_of):
    sign_off(actor_of(owner), measured)
    sign_off(actor_of(owner), measured, value_per_unit=Decimal(2))
    assert [c.value_per_unit for c in selectors.conversions(measured.id)] == [2, 1]
    assert selectors.value(usecase)["kpis"][0]["conversion"].value_per_unit == 2


@pytest.mark.parametrize("changed", [{"value_per_unit": Decimal(0)}, {"value_per_unit": Decimal("NaN")}, {"currency": "usd"}, {"per_n": 0}])
def test_money_that_makes_no_sense_is_refused(measured, owner, actor_of, changed):
    with pytest.raises(Invalid):
        sign_off(actor_of(owner), measured, **changed)


@pytest.mark.parametrize("changed", [{"amount": Decimal(-1)}, {"period_end": START}, {"external_id": " "}, {"currency": "x"}])
def test_costs_that_make_no_sense_are_refused(usecase, owner, actor_of, changed):
    with pytest.raises(Invalid):
        cost(actor_of(owner), usecase, **changed)


def test_money_is_signed_off_by_a_person(measured, system):
    with pytest.raises(Invalid, match="person"):
        sign_off(system, measured)


def test_administrators_set_rates_and_the_newest_is_in_force(make_user, owner, actor_of):
    prices = {"cpu_hour": Decimal("0.05"), "gpu_hour": Decimal("2.5"), "currency": "USD"}
    assert selectors.rate_card() is None
    with pytest.raises(NotAllowed):
        services.set_rate_card(actor=actor_of(owner), **prices)
    admin = actor_of(make_user("admin"))
    services.set_rate_card(actor=admin, **prices)
    services.set_rate_card(actor=admin, **(prices | {"cpu_hour": Decimal("0.04")}))
    assert selectors.rate_card().cpu_hour == Decimal("0.04")
    with pytest.raises(Invalid, match="gpu_hour"):
        services.set_rate_card(actor=admin, **(prices | {"gpu_hour": Decimal(-1)}))


def test_headlines_of_many_kpis_take_a_constant_number_of_queries(measured, define, rows, owner, actor_of, django_assert_num_queries):
    mean = define(name="Satisfaction", aggregation="mean", scale=1.0, direction="higher", target=4.0, floor=3.0, primary=False)
    total = define(name="Calls", aggregation="sum", scale=1.0, direction="higher", target=9.0, floor=1.0, primary=False)
    empty = define(name="Empty", aggregation="mean", scale=1.0, direction="higher", target=9.0, floor=1.0, primary=False)
    for kpi in (mean, total):
        batch = [{"period_start": r["period_start"], "period_end": r["period_end"], "value": v, "n": n, "version_label": "outreach/1"}
                 for r, v, n in zip(rows([1, 1]), (3.0, 5.0), (1, 3), strict=True)]  # fmt: skip
        services.record_measurements(actor=actor_of(owner), kpi_id=kpi.id, rows=batch)
    with django_assert_num_queries(3):
        found = selectors.headlines([measured, mean, total, empty])
    assert found[measured.id]["value"] == pytest.approx(selectors.effect(measured, "outreach/1").current)
    assert found[measured.id]["attainment"].state == "met" and found[measured.id]["version_label"] == "outreach/1"
    assert found[mean.id]["value"] == pytest.approx(4.5) and found[total.id]["value"] == pytest.approx(4.0)
    assert found[empty.id]["value"] is None and found[empty.id]["attainment"].state == "unknown"


def test_the_headline_is_of_the_version_that_is_live_not_of_the_one_measured_last(measured, rows, owner, actor_of, usecase):
    first = selectors.headlines([measured])[measured.id]
    services.record_measurements(actor=actor_of(owner), kpi_id=measured.id, rows=rows([12.0] * 3, start=40, version="outreach/2"))
    last = selectors.headlines([measured])[measured.id]
    assert (last["version_label"], last["attainment"].state) == ("outreach/2", "missed")
    back = selectors.headlines([measured], {usecase.id: "outreach/1"})[measured.id]
    assert (back["version_label"], back["measured_last"], back["attainment"].state) == ("outreach/1", "outreach/2", "met")
    assert back["value"] == first["value"] and back["measured_until"] == first["measured_until"]
    fresh = selectors.headlines([measured], {usecase.id: "outreach/3"})[measured.id]
    assert (fresh["value"], fresh["n"], fresh["measured_until"], fresh["attainment"].state) == (None, 0, None, "unknown")


def test_rows_without_a_version_stand_for_the_whole_where_the_live_one_has_none(define, rows, owner, actor_of, usecase):
    kpi = define()
    services.record_measurements(actor=actor_of(owner), kpi_id=kpi.id, rows=rows([9.0, 8.0]))
    found = selectors.headlines([kpi], {usecase.id: "outreach/1"})[kpi.id]
    assert (found["value"], found["version_label"]) == (8000.0, "")
    services.freeze_baseline(actor=actor_of(owner), kpi_id=kpi.id, period_start=START, period_end=START + timedelta(days=2))
    frozen = selectors.headlines([kpi], {usecase.id: "outreach/1"})[kpi.id]
    assert (frozen["value"], frozen["version_label"], frozen["attainment"].state) == (None, "outreach/1", "unknown"), "not the baseline's own rows"
    assert selectors.headlines([kpi])[kpi.id]["value"] == 8000.0
