"""The canary's share of traffic, counted from the captures."""

import threading
from collections import Counter

from scipy.stats import binom

from gateway.snapshot import Route, choose
from tests.gateway.support import Engine, GatewayProcess, Portal, columns, endpoint, new_key

CANARY = 0.10
COVERAGE = 1 - 1e-6
"""Of the interval: a right gateway falls outside once in a million runs."""


def route(weight: int, version: int) -> Route:
    return Route(f"d{version}", f"claims/{version}", "m", "http://127.0.0.1:1", weight, False)


def test_a_ten_percent_canary_gets_ten_percent_of_the_captured_requests(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine, second_engine: Engine
) -> None:
    key = new_key()
    own_portal.publish(
        endpoint(
            "claims", [key], [engine.route(version=1, weight=90), second_engine.route(version=2, weight=10)]
        )
    )
    own_gateway.start()
    answered: Counter[str] = Counter()
    lock = threading.Lock()

    def send() -> None:
        for _ in range(300):
            version = own_gateway.infer("claims", key, columns(a=[1.0])).headers["x-gatehouse-model-version"]
            with lock:
                answered[version] += 1

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    captured = Counter(row["model_version"] for row in own_gateway.settled_rows())
    assert captured == answered
    sent = captured.total()
    assert sent == 1_200
    low, high = binom.interval(COVERAGE, sent, CANARY)
    assert low <= captured["claims/2"] <= high
    assert not low <= sent * 0.02 <= high, "the interval is narrow enough to mean something"
    assert not low <= sent * 0.20 <= high


def test_the_choice_is_repeatable_and_follows_the_weights() -> None:
    routes = [route(90, 1), route(10, 2)]
    ids = [f"request-{n}" for n in range(20_000)]
    picked = [choose(routes, item) for item in ids]
    assert picked == [choose(routes, item) for item in ids]
    low, high = binom.interval(COVERAGE, len(ids), CANARY)
    assert low <= picked.count(routes[1]) <= high


def test_weights_of_0_and_100_are_never_and_always() -> None:
    for n in range(2_000):
        assert choose([route(0, 1), route(100, 2)], str(n)) == route(100, 2)
        assert choose([route(100, 1), route(0, 2)], str(n)) == route(100, 1)
    assert choose([], "x") is None


def test_raising_a_canary_only_ever_moves_requests_to_it() -> None:
    before, after = [route(90, 1), route(10, 2)], [route(50, 1), route(50, 2)]
    for n in range(2_000):
        if choose(before, str(n)) == before[1]:
            assert choose(after, str(n)) == after[1]
