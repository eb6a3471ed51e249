"""The routing snapshot: followed at once, trusted if signed and newer, kept when the portal is away."""

import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from celery_worker import orders
from tests.gateway.support import (
    Engine,
    GatewayProcess,
    Portal,
    columns,
    endpoint,
    new_key,
    start_engine,
    wait_until,
)

BODY = columns(a=[1.0])


def test_a_revoked_key_stops_working_with_the_next_snapshot(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    old, new = new_key(), new_key()
    own_portal.publish(endpoint("claims", [old, new], [engine.route()]))
    own_gateway.start()
    assert own_gateway.infer("claims", old, BODY).status == 200
    version = own_portal.publish(endpoint("claims", [new], [engine.route()]))
    own_gateway.uses_version(version)
    assert own_gateway.infer("claims", old, BODY).status == 401
    assert own_gateway.infer("claims", new, BODY).status == 200


def test_the_last_good_snapshot_serves_while_the_portal_is_away_and_after_a_restart(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    own_portal.publish(endpoint("claims", [key], [engine.route()]))
    own_gateway.start()
    own_portal.stop()
    assert own_gateway.infer("claims", key, BODY).status == 200
    own_gateway.kill()
    own_gateway.start()
    assert own_gateway.infer("claims", key, BODY).status == 200
    ready = own_gateway.get("/v2/health/ready")
    assert ready.status == 200
    assert ready.json["snapshot"]["fresh"] is False
    assert oct((own_gateway.state / "routing.json").stat().st_mode & 0o777) == "0o600"
    own_portal.start()
    version = own_portal.publish(endpoint("claims", [new_key()], [engine.route()]))
    own_gateway.uses_version(version)
    assert own_gateway.infer("claims", key, BODY).status == 401
    assert own_gateway.get("/v2/health/ready").json["snapshot"]["fresh"] is True


def test_unsigned_altered_foreign_and_older_snapshots_are_refused(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key, forged = new_key(), new_key()
    own_portal.publish(endpoint("claims", [new_key()], [engine.route()]))
    older = own_portal.envelope
    good = own_portal.publish(endpoint("claims", [key], [engine.route()]))
    own_gateway.start()
    own_gateway.uses_version(good)

    payload = {"v": 1, "version": 999, "issued_at": "2025-06-01T00:00:00+00:00"}
    evil = payload | {"endpoints": [endpoint("claims", [forged], [engine.route()])]}
    unsigned = {"v": 1, "key_id": "", "payload": orders.canonical(evil), "signature": ""}
    altered = orders.sign(payload | {"endpoints": []}, private_key=own_portal.private)
    altered["payload"] = orders.canonical(evil)
    foreign = orders.sign(evil, private_key=Ed25519PrivateKey.generate())
    order = orders.sign(evil | {"kind": "start", "audience": "host"}, private_key=own_portal.private)
    broken_route = engine.route() | {"weight": 101}
    broken = orders.sign(
        payload | {"endpoints": [endpoint("claims", [forged], [broken_route])]},
        private_key=own_portal.private,
    )
    for number, envelope in enumerate([unsigned, altered, foreign, order, broken, older, 5, "text"]):
        polls = own_portal.polls
        own_portal.offer(envelope, 1_000 + number)
        wait_until(lambda polls=polls: own_portal.polls >= polls + 2, "the offer to be looked at")
        assert own_gateway.infer("claims", forged, BODY).status == 401
        assert own_gateway.infer("claims", key, BODY).status == 200
        assert own_gateway.get("/v2/health/ready").json["snapshot"]["version"] == good + number
        next_good = own_portal.publish(endpoint("claims", [key], [engine.route()]), version=good + number + 1)
        own_gateway.uses_version(next_good)
    metrics = own_gateway.get("/metrics").body.decode()
    for reason in ("unsigned", "bad_signature", "unknown_key", "older", "malformed"):
        assert f'snapshots_refused_total{{reason="{reason}"}}' in metrics

    own_gateway.kill()
    (own_gateway.state / "routing.json").write_text(json.dumps(foreign))
    own_portal.stop()
    own_gateway.start(routed=False)
    assert own_gateway.get("/v2/health/ready").status == 503
    assert own_gateway.infer("claims", forged, BODY).status == 503


def test_a_rotated_order_key_is_read_again_without_a_restart(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    own_portal.publish(endpoint("claims", [key], [engine.route()]))
    own_gateway.start()
    fresh = Ed25519PrivateKey.generate()
    own_portal.trust(own_portal.private, fresh)
    own_gateway.uses_version(own_portal.publish(endpoint("claims", [key], [engine.route()]), key=fresh))
    assert own_gateway.infer("claims", key, BODY).status == 200


def test_a_refused_connection_is_tried_once_elsewhere_and_a_dead_endpoint_is_a_503(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    doomed = start_engine()
    own_portal.publish(
        endpoint("claims", [key], [doomed.route(version=1, weight=99), engine.route(version=2, weight=1)]),
        endpoint("alone", [key], [doomed.route(version=1)]),
    )
    own_gateway.start()
    assert own_gateway.infer("claims", key, BODY).status == 200
    doomed.kill()
    for _ in range(20):
        answer = own_gateway.infer("claims", key, BODY)
        assert (answer.status, answer.json["model_version"]) == (200, "2")
    alone = own_gateway.infer("alone", key, BODY)
    assert (alone.status, alone.json["code"]) == (503, "engine-failed")
    assert own_gateway.get("/v2/models/alone", key=key).status == 503
    pinned = own_gateway.infer("claims/versions/1", key, BODY)
    assert pinned.status == 503, "a caller who pinned a version is not answered by another"
    statuses = [row["status"] for row in own_gateway.settled_rows() if row["model_version"] == "claims/1"]
    assert statuses.count(503) == 2


def test_an_engine_that_dies_while_computing_is_not_asked_twice(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    doomed = start_engine()
    own_portal.publish(
        endpoint("claims", [key], [doomed.route(weight=100), engine.route(version=2, weight=0)])
    )
    own_gateway.start()
    before = len(engine.seen()["seen"])
    answer = own_gateway.infer("claims", key, BODY | {"parameters": {"mode": "die"}})
    assert (answer.status, answer.json["code"]) == (503, "engine-failed")
    assert len(engine.seen()["seen"]) == before
    doomed.process.wait()


def test_an_engine_that_is_too_slow_is_a_504(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    own_gateway.extra = {"GATEHOUSE_GATEWAY_ENGINE_TIMEOUT_S": "1"}
    own_portal.publish(endpoint("claims", [key], [engine.route()]))
    own_gateway.start()
    answer = own_gateway.infer("claims", key, BODY | {"parameters": {"mode": "slow"}})
    assert (answer.status, answer.json["code"]) == (504, "engine-timeout")
    assert [row["status"] for row in own_gateway.settled_rows()] == [504]
