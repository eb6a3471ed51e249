"""Rollout phases at a real gateway: whom it serves, what it says to the others, what it counts, and that a change reaches it."""

import asyncio
import hashlib
import time
from datetime import datetime

import aiohttp
import pytest

from gateway import cohorts
from gateway.config import Settings
from gateway.metrics import Metrics
from gateway.tally import KEEP_HOURS, Tally
from tests.gateway.support import columns, counted, endpoint, new_key, rollout, wait_until

BODY = columns(a=[1.0])
CLAIMS, BILLING, NOBODY = new_key(), new_key(), new_key()
GROUPS = {CLAIMS: ["Claims"], BILLING: ["billing", "North team"], NOBODY: []}


def planned(engine, *phases, slug="care-production"):
    made = endpoint(slug, list(GROUPS), [engine.route()])
    for entry, key in zip(made["keys"], GROUPS, strict=True):
        entry["groups"] = GROUPS[key]
    return made | {"environment": "production", "rollout": rollout(*phases)}


@pytest.fixture
def serve(gateway, portal, engine):
    """serve(*phases) publishes them and waits until the gateway goes by them."""

    def publish(*phases):
        gateway.uses_version(portal.publish(planned(engine, *phases)))
        return gateway

    return publish


def ask(gateway, key, user=None):
    headers = {"X-Gatehouse-User": user} if user is not None else {}
    return gateway.infer("care-production", key, BODY, headers=headers)


def test_only_callers_of_an_open_phase_are_served(serve):
    gateway = serve({"name": "Claims desk", "departments": [" CLAIMS "]}, {"name": "North", "departments": ["north team"], "open": False})
    assert ask(gateway, CLAIMS).status == 200
    refused = ask(gateway, BILLING)
    assert refused.status == 403 and refused.headers["content-type"] == "application/problem+json"
    said = refused.json
    assert said["code"] == "phase-not-open" and said["phase"] == "North"
    assert "“North” will include them" in said["detail"] and "2026-12-01" in said["detail"]
    assert ask(gateway, NOBODY).json["phase"] is None


def test_a_change_of_the_plan_reaches_a_running_gateway(serve):
    gateway = serve({"name": "Claims desk", "departments": ["Claims"], "open": False})
    assert ask(gateway, CLAIMS).status == 403
    serve({"name": "Claims desk", "departments": ["Claims"]})
    assert ask(gateway, CLAIMS).status == 200
    serve({"name": "Claims desk", "departments": ["Claims"], "open": False, "closed": True})
    closed = ask(gateway, CLAIMS)
    assert closed.status == 403 and "was closed" in closed.json["detail"]


def test_a_share_of_users_is_served_always_the_same_and_a_larger_one_loses_nobody(serve):
    gateway = serve({"name": "A third", "percent": 33})
    users = [f"member-{n}" for n in range(60)]
    first = {u for u in users if ask(gateway, NOBODY, u).status == 200}
    assert first == {u for u in users if cohorts.mark("usecase", f"user:{u}") < 33}
    assert {u for u in users if ask(gateway, CLAIMS, u).status == 200} == first, "whoever asks for the user"
    serve({"name": "A third", "percent": 33}, {"name": "Two thirds", "percent": 66})
    second = {u for u in users if ask(gateway, NOBODY, u).status == 200}
    assert first < second < set(users)
    left_out = next(u for u in users if u not in second)
    serve({"name": "A third", "percent": 33}, {"name": "All", "open": False})
    assert ask(gateway, NOBODY, left_out).json["phase"] == "All"


def test_without_a_user_the_key_counts_as_one(serve):
    gateway = serve({"name": "Half", "percent": 50})
    for key in GROUPS:
        expected = 200 if cohorts.mark("usecase", f"key:{key[4:12]}") < 50 else 403
        assert {ask(gateway, key).status for _ in range(3)} == {expected}


def test_a_user_that_is_no_name_is_told_so(serve):
    gateway = serve({"name": "Half", "percent": 50})
    assert ask(gateway, CLAIMS, "x" * 300).status == 400
    serve({"name": "All"})
    assert ask(gateway, CLAIMS, "x" * 300).status == 200, "where everybody is served, nobody looks at it"


def test_describing_and_readiness_are_for_every_key(serve):
    gateway = serve({"name": "Claims desk", "departments": ["Claims"], "open": False})
    assert gateway.get("/v2/models/care-production", key=CLAIMS).status == 200
    assert gateway.get("/v2/models/care-production/ready", key=CLAIMS).status == 200


def test_an_endpoint_without_a_plan_serves_everybody(gateway, portal, engine):
    key = new_key()
    old = endpoint("old", [key], [engine.route()])
    gateway.uses_version(portal.publish(old | {"environment": "production"}))
    assert "rollout" not in old and "groups" not in old["keys"][0], "as snapshots were before there were plans"
    assert gateway.infer("old", key, BODY).status == 200
    wait_until(lambda: counted(portal).get((key[4:12], "")) == (1, 0), "its caller is counted all the same: who calls is asked when it ends")


def test_what_is_let_in_and_turned_away_is_counted_at_the_portal_and_in_the_metrics(serve, portal):
    gateway = serve({"name": "Claims desk", "departments": ["Claims"]}, {"name": "North", "departments": ["north team"], "open": False})
    ids = {key: key[4:12] for key in GROUPS}
    wait_until(lambda: portal.tallies or not ask(gateway, CLAIMS), "a first report")
    before = counted(portal)
    for key, times in ((CLAIMS, 3), (BILLING, 2), (NOBODY, 1)):
        for _ in range(times):
            ask(gateway, key)
    wanted = {(ids[CLAIMS], ""): (3, 0), (ids[BILLING], "North"): (0, 2), (ids[NOBODY], "(none)"): (0, 1)}

    def grown():
        now = counted(portal)
        return all(tuple(n - b for n, b in zip(now.get(k, (0, 0)), before.get(k, (0, 0)), strict=True)) >= v for k, v in wanted.items())

    wait_until(grown, "the counts at the portal")
    assert 'phase_not_open_total{endpoint="care-production",phase="North"}' in gateway.get("/metrics").body.decode()


def test_counts_survive_a_portal_that_is_away_and_a_graceful_stop_sends_the_rest(own_gateway, own_portal, engine):
    own_portal.publish(planned(engine, {"name": "Claims desk", "departments": ["Claims"]}))
    own_gateway.start()
    own_portal.stop()
    for _ in range(4):
        assert ask(own_gateway, CLAIMS).status == 200
    own_portal.start()
    wait_until(lambda: counted(own_portal).get((CLAIMS[4:12], "")) == (4, 0), "the counts after the outage")
    assert ask(own_gateway, BILLING).status == 403
    own_gateway.stop()
    assert counted(own_portal)[(BILLING[4:12], "(none)")] == (0, 1)


def test_a_gateway_that_nobody_calls_says_all_the_same_that_it_counts_every_endpoint(own_gateway, own_portal, engine):
    own_portal.publish(planned(engine, {"name": "Claims desk", "departments": ["Claims"]}))
    own_gateway.start()
    wait_until(lambda: own_portal.tallies, "a tally without a request")
    assert (own_portal.tallies[0]["rows"], own_portal.tallies[0]["counts"], own_portal.tallies[0]["lost_before"]) == ([], "all", None)


def test_hours_that_are_given_up_are_told_of(own_portal, tmp_path):
    token = own_portal.token
    settings = Settings("127.0.0.1", 0, f"http://127.0.0.1:{own_portal.port}", token, tmp_path, tmp_path, tmp_path)
    tally, old = Tally(settings, Metrics()), int(time.time()) - (KEEP_HOURS + 5) * 3600

    async def try_once():
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            return await tally._try(session, 0)

    own_portal.stop()
    tally.admit("care", "abcd1234", old)
    assert asyncio.run(try_once()) == 1
    own_portal.start()
    assert asyncio.run(try_once()) == 0
    told = own_portal.tallies[-1]
    assert told["rows"] == [] and datetime.fromisoformat(told["lost_before"]).timestamp() == (old // 3600 + 1) * 3600


def test_a_plan_that_is_none_is_refused_and_the_last_good_one_serves(serve, portal, engine):
    gateway = serve({"name": "Claims desk", "departments": ["Claims"], "open": False})
    held = gateway.get("/v2/health/ready").json["snapshot"]["version"]
    for wrong in ({"percent": 101}, {"open": "yes"}, {"departments": "Claims"}, {"name": ""}):
        portal.publish(planned(engine, {"name": "x"} | wrong))
    wait_until(lambda: "snapshots_refused_total" in gateway.get("/metrics").body.decode(), "refused")
    assert gateway.get("/v2/health/ready").json["snapshot"]["version"] == held
    assert ask(gateway, CLAIMS).status == 403


@pytest.mark.django_db
def test_a_decision_at_the_portal_opens_the_gateway_and_revoking_closes_it(own_gateway, own_portal, engine, phased):
    """From the portal's own plan, decision and signed snapshot to the answer of a real gateway."""
    own_portal.private = phased.private
    own_portal.trust(phased.private)
    secret = phased.secret
    own_portal.offer(*phased.snapshot(engine))
    own_gateway.start()
    slug = phased.endpoint.slug
    refused = own_gateway.infer(slug, secret, BODY)
    assert refused.status == 403 and refused.json["phase"] == "claims", refused.body
    phased.open()
    own_portal.offer(*phased.snapshot(engine))
    own_gateway.uses_version(own_portal.version)
    assert own_gateway.infer(slug, secret, BODY).status == 200
    phased.close()
    own_portal.offer(*phased.snapshot(engine))
    own_gateway.uses_version(own_portal.version)
    assert "was closed" in own_gateway.infer(slug, secret, BODY).json["detail"]
    assert hashlib.sha256(secret.encode()).hexdigest() in str(own_portal.envelope)
