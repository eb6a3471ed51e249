"""Who belongs to a rollout phase, and how a share of users is picked: tables and figures, no process."""

import math

import pytest

from gateway import cohorts
from gateway.cohorts import Phase
from gateway.problems import Problem

USERS = [f"member-{n}" for n in range(20_000)]
# Where users 0, 1 and 2 stand: a change of the hash would move everybody.
FIXED = [10.254, 7.161, 87.866]
SALT = "0190f3c2-7b1e-7c3a-9d54-2f6b8a1c0e77"


def phase(name="p", departments=(), percent=100, is_open=True, closed=False):
    return Phase(name, frozenset(cohorts.same(d) for d in departments), percent, is_open, closed, "2026-12-01")


def groups(*names):
    return frozenset(cohorts.same(n) for n in names)


@pytest.mark.parametrize(
    ("phases", "caller", "percent"),
    [
        ([], groups("Claims"), 0),
        ([phase()], groups(), 100),
        ([phase(is_open=False)], groups("Claims"), 0),
        ([phase(departments=["Claims"])], groups("Claims"), 100),
        ([phase(departments=["Claims"])], groups("  claims "), 100),
        ([phase(departments=["Claims"])], groups("Billing"), 0),
        ([phase(departments=["Claims"])], groups(), 0),
        ([phase(departments=["North team"])], groups("Claims", "north  TEAM"), 100),
        ([phase(departments=["Claims", "Billing"])], groups("Billing"), 100),
        ([phase(percent=10)], groups("Claims"), 10),
        ([phase(departments=["Claims"], percent=30)], groups("Claims"), 30),
        ([phase(departments=["Claims"], percent=30)], groups("Billing"), 0),
        ([phase(percent=10), phase(percent=50)], groups(), 50),
        ([phase(percent=10), phase(percent=50, is_open=False)], groups(), 10),
        ([phase(departments=["Claims"]), phase(percent=10)], groups("Billing"), 10),
        ([phase(departments=["Claims"]), phase(percent=10)], groups("Claims"), 100),
        ([phase(percent=10, is_open=False, closed=True)], groups(), 0),
    ],
)
def test_reach_of_a_caller(phases, caller, percent):
    assert cohorts.reach(phases, caller) == percent


@pytest.mark.parametrize(
    ("phases", "caller", "at", "name"),
    [
        ([phase("all", is_open=False)], groups(), 99.0, "all"),
        ([phase("tenth", percent=10, is_open=False), phase("half", percent=50, is_open=False)], groups(), 5.0, "tenth"),
        ([phase("tenth", percent=10, is_open=False), phase("half", percent=50, is_open=False)], groups(), 30.0, "half"),
        ([phase("tenth", percent=10, is_open=False), phase("half", percent=50, is_open=False)], groups(), 70.0, None),
        ([phase("claims", ["Claims"], is_open=False), phase("rest", is_open=False)], groups("Billing"), 1.0, "rest"),
        ([phase("claims", ["Claims"], is_open=False)], groups("Billing"), 1.0, None),
        ([phase("open", percent=10), phase("next", percent=50, is_open=False)], groups(), 30.0, "next"),
    ],
)
def test_the_first_phase_that_would_include_them_is_named(phases, caller, at, name):
    found = cohorts.coming(phases, caller, at)
    assert (found.name if found else None) == name


@pytest.mark.parametrize("percent", [1, 5, 10, 33, 50, 90])
def test_a_share_of_users_is_that_share_within_its_binomial_interval(percent):
    share = sum(cohorts.mark(SALT, u) < percent for u in USERS)
    expected, spread = len(USERS) * percent / 100, math.sqrt(len(USERS) * percent / 100 * (1 - percent / 100))
    assert abs(share - expected) < 4 * spread, (share, expected)


def test_the_same_user_stands_at_the_same_place_for_ever():
    assert [round(cohorts.mark("salt", f"user:{n}"), 3) for n in range(3)] == FIXED


def test_a_growing_share_loses_nobody():
    inside: set[str] = set()
    for percent in (1, 2, 5, 10, 25, 50, 75, 99, 100):
        now = {u for u in USERS if cohorts.mark(SALT, u) < percent}
        assert inside <= now
        inside = now
    assert inside == set(USERS)


def test_two_use_cases_do_not_pick_the_same_people():
    first = {u for u in USERS if cohorts.mark(SALT, u) < 10}
    second = {u for u in USERS if cohorts.mark("another", u) < 10}
    both = len(first & second)
    assert 100 < both < 320, "a tenth of a tenth of 20,000 is 200"


@pytest.mark.parametrize(
    ("headers", "user"),
    [
        ([], None),
        ([(b"x-gatehouse-user", b"m-17")], "m-17"),
        ([(b"x-gatehouse-user", b"  m-17 ")], "m-17"),
        ([(b"x-gatehouse-user", "Jürgen".encode())], "Jürgen"),
    ],
)
def test_whom_the_caller_names(headers, user):
    assert cohorts.user_of(headers) == user


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-gatehouse-user", b"")],
        [(b"x-gatehouse-user", b"x" * 257)],
        [(b"x-gatehouse-user", b"a\x00b")],
        [(b"x-gatehouse-user", b"a"), (b"x-gatehouse-user", b"b")],
    ],
)
def test_a_user_that_is_no_name_is_refused_with_the_remedy(headers):
    with pytest.raises(Problem, match="X-Gatehouse-User once") as refused:
        cohorts.user_of(headers)
    assert refused.value.status == 400


def test_a_refusal_names_the_phase():
    later = cohorts.refusal(phase("Claims desk", is_open=False), by_user=True)
    assert (
        later.status == 403
        and "“Claims desk” will include them" in later.detail
        and "2026-12-01" in later.detail
        and later.extra == {"phase": "Claims desk"}
    )
    closed = cohorts.refusal(phase("Claims desk", is_open=False, closed=True), by_user=False)
    assert "this caller now" in closed.detail and "was closed" in closed.detail
    assert "no rollout phase of its plan includes them" in cohorts.refusal(None, by_user=True).detail
