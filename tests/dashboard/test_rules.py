"""Which button of a use case's page is the main one."""

import pytest

from apps.dashboard.rules import Held, OpenIncident, Situation, UnderWay, actions

BASE = {
    "slug": "outreach",
    "stage": "pilot",
    "next_stage": "production",
    "may_change": True,
    "may_operate": True,
    "runs": "/endpoints/p/monitoring/",
}
HIGH, LOW = OpenIncident("high", "/high"), OpenIncident("low", "/low")
DRAFT, OPEN = UnderWay("draft", "production", "/g/draft"), UnderWay("open", "production", "/g/open")
VERSION = UnderWay("open", "production", "/g/version", about="outreach/2")
MINE = UnderWay("open", "production", "/g/mine", mine_to_sign=True)
TIER, FINDING, WAIVER = (Held(cause, "pilot", f"/{cause}") for cause in ("tier", "finding", "waiver"))
READER = {"may_change": False, "may_operate": False}
BEGIN = "Begin the gate to production"
LIVE = {"stage": "production", "next_stage": "retired"}


@pytest.mark.parametrize(
    ("state", "main", "others"),
    [
        # nothing is wrong and nothing is under way
        ({}, (BEGIN, "/gates/new/?usecase=outreach&to=production"), []),
        ({"stage": "proposal", "next_stage": "poc", "runs": ""}, ("Begin the gate to proof of concept", "/gates/new/?usecase=outreach&to=poc"), []),
        (READER, None, []),
        # an open incident
        ({"incidents": [HIGH]}, ("Deal with the incident", "/high"), [BEGIN]),
        ({"incidents": [LOW, HIGH]}, ("Deal with the incidents", "/high"), [BEGIN]),
        ({"incidents": [HIGH], "may_operate": False}, ("Read the incident", "/high"), [BEGIN]),
        ({"incidents": [HIGH], **READER}, ("Read the incident", "/high"), []),
        ({"incidents": [HIGH], "gates": [OPEN], "held": TIER}, ("Deal with the incident", "/high"), []),
        ({"incidents": [HIGH], "gates": [MINE], **READER}, ("Read and sign the gate to production", "/g/mine"), []),
        ({**LIVE, "incidents": [HIGH]}, ("Deal with the incident", "/high"), ["Begin the gate to retirement"]),
        ({"stage": "on_hold", "next_stage": "", "incidents": [LOW]}, ("Deal with the incident", "/low"), []),
        # on hold, and suspended decisions
        ({"stage": "on_hold", "next_stage": ""}, ("Take it off hold", "/usecases/outreach/edit/#resume"), []),
        ({"stage": "on_hold", "next_stage": "", **READER}, None, []),
        ({"held": FINDING, "gates": [OPEN]}, ("Read why a decision is on hold", "/finding"), []),
        ({"held": WAIVER, **READER}, ("Read why a decision is on hold", "/waiver"), []),
        ({"held": TIER}, ("Pass the gate into pilot again", "/tier"), [BEGIN]),
        ({"held": TIER, "gates": [VERSION]}, ("Read the gate for outreach/2", "/g/version"), [BEGIN]),
        ({"held": TIER, **READER}, None, []),
        # a gate in flight
        ({"gates": [DRAFT]}, ("Go on with the gate to production", "/g/draft"), []),
        ({"gates": [DRAFT], **READER}, ("Read the gate to production", "/g/draft"), []),
        ({"gates": [OPEN]}, ("Read the gate to production", "/g/open"), []),
        ({"gates": [VERSION, MINE, DRAFT]}, ("Read and sign the gate to production", "/g/mine"), []),
        ({"gates": [VERSION, OPEN]}, ("Read the gate to production", "/g/open"), []),
        ({"gates": [DRAFT, VERSION]}, ("Read the gate for outreach/2", "/g/version"), []),
        ({**LIVE, "gates": [VERSION]}, ("Read the gate for outreach/2", "/g/version"), ["Begin the gate to retirement"]),
        # approved, and nothing answers yet
        ({"runs": ""}, ("Make an endpoint", "/endpoints/new/?usecase=outreach"), [BEGIN]),
        ({"runs": "", "empty": "/endpoints/p/"}, ("Deploy the approved version", "/endpoints/p/"), [BEGIN]),
        ({"runs": "", "may_operate": False}, (BEGIN, "/gates/new/?usecase=outreach&to=production"), []),
        # in production, and ended
        (LIVE, ("See how it runs", "/endpoints/p/monitoring/"), ["Begin the gate to retirement"]),
        ({**LIVE, **READER}, ("See how it runs", "/endpoints/p/monitoring/"), []),
        ({**LIVE, "runs": "", "may_operate": False}, None, ["Begin the gate to retirement"]),
        ({"stage": "stopped", "next_stage": "", "incidents": [HIGH], "held": FINDING}, None, []),
        ({"stage": "retired", "next_stage": "", "gates": [OPEN]}, None, []),
    ],
)  # fmt: skip
def test_the_main_button_is_what_the_person_needs(state, main, others):
    found, beside = actions(Situation(**{**BASE, **state}))
    assert ((found.label, found.path) if found else None) == main
    assert [a.label for a in beside] == others
