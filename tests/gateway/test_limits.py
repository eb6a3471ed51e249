"""Rate limits: shared through a real Valkey, and kept locally while it is away."""

from collections import Counter
from pathlib import Path

import pytest

from gateway.limits import LocalBucket
from tests.gateway.support import (
    Engine,
    GatewayProcess,
    Portal,
    columns,
    endpoint,
    free_port,
    new_key,
    valkey,
    wait_until,
)

BODY = columns(a=[1.0])
SLOW = 0.001
"""Tokens a second: within a test none comes back, so counts are exact on any machine."""


def counted(gateway: GatewayProcess, slug: str, key: str, times: int) -> Counter[int]:
    return Counter(gateway.infer(slug, key, BODY).status for _ in range(times))


def test_two_gateways_share_one_bucket_and_live_on_when_valkey_does_not(
    own_portal: Portal, engine: Engine, tmp_path: Path
) -> None:
    key, port = new_key(), free_port()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (
        GatewayProcess(own_portal, tmp_path / name, {"REDIS_URL": f"redis://127.0.0.1:{port}/0"})
        for name in ("a", "b")
    )
    own_portal.publish(
        endpoint("claims", [key], [engine.route()], rate=SLOW, burst=9),
        endpoint("roomy", [key], [engine.route()], rate=SLOW, burst=1_000),
    )
    try:
        with valkey(port, tmp_path):
            first.start()
            second.start()
            assert counted(first, "claims", key, 6) == {200: 6}
            assert counted(second, "claims", key, 6) == {200: 3, 429: 3}
            refused = second.infer("claims", key, BODY)
            assert refused.json["code"] == "too-many"
            assert int(refused.headers["retry-after"]) > 1
            assert "limiter_local 0.0" in first.get("/metrics").body.decode()
            assert counted(first, "roomy", key, 5) == {200: 5}, "limits are kept apart by endpoint"
        # Valkey is gone, killed hard. Serving goes on under a local bucket that knows what was spent here.
        assert counted(first, "roomy", key, 5) == {200: 5}
        assert counted(first, "claims", key, 6) == {200: 3, 429: 3}
        assert "limiter_local 1" in first.get("/metrics").body.decode()
        with valkey(port, tmp_path):

            def shared_again() -> bool:
                first.infer("roomy", key, BODY)
                return "limiter_local 0" in first.get("/metrics").body.decode()

            wait_until(shared_again, "limits to be shared again")
    finally:
        first.end()
        second.end()


def test_without_redis_the_burst_is_exact_and_an_endpoint_of_rate_0_is_closed(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    own_portal.publish(
        endpoint("claims", [key], [engine.route()], rate=SLOW, burst=4),
        endpoint("closed", [key], [engine.route()], rate=0, burst=4),
    )
    own_gateway.start()
    assert counted(own_gateway, "claims", key, 6) == {200: 4, 429: 2}
    assert own_gateway.get("/v2/models/claims", key=key).status == 429, "metadata costs the engine, too"
    assert counted(own_gateway, "closed", key, 2) == {429: 2}
    assert len(own_gateway.settled_rows()) == 4, "what was refused here never was a prediction"


@pytest.mark.parametrize("rate", [0.5, 10.0, 700.0])
def test_a_bucket_gives_its_burst_and_then_its_rate(rate: float) -> None:
    bucket = LocalBucket(tokens=5.0, at=0.0)
    assert [bucket.take(rate=rate, burst=5, now=0.0) for _ in range(5)] == [0.0] * 5
    wait_s = bucket.take(rate=rate, burst=5, now=0.0)
    assert wait_s == pytest.approx(1 / rate)
    assert bucket.take(rate=rate, burst=5, now=wait_s * 0.5) > 0
    assert bucket.take(rate=rate, burst=5, now=wait_s * 1.01) == 0.0
    assert bucket.take(rate=rate, burst=5, now=1e9) == 0.0
    assert bucket.tokens == 4.0, "an idle hour saves up no more than the burst"
    assert bucket.take(rate=rate, burst=5, now=0.0) == 0.0, "a clock that steps back does no harm"
