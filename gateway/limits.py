"""Token buckets: kept in Redis so that all gateways share them, and locally while Redis is away."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway import logs
from gateway.metrics import Metrics
from gateway.snapshot import Endpoint

log = logging.getLogger("gateway.limits")

# Refill, then grant up to `want` whole tokens; when none is there, say in how many ms one will be.
# Redis's own clock is used, so gateways with different clocks share one bucket.
BUCKET_SCRIPT = """
local rate, burst, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(bucket[1]) or burst, tonumber(bucket[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) * rate)
local granted = math.min(want, math.floor(tokens))
tokens = tokens - granted
redis.call('HSET', KEYS[1], 'tokens', string.format('%.9f', tokens), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((burst / rate + 1) * 1000))
local wait = 0
if granted < 1 then wait = math.ceil((1 - tokens) / rate * 1000) end
return {granted, wait}
"""

_REDIS_TIMEOUT_S = 0.25
_RETRY_AFTER_S = 1.0
_LEASE_SHARE_OF_A_SECOND = 0.02
_LEASE_SHARE_OF_BURST = 0.1
_LEASE_LASTS_S = 0.5
_CLOSED_RETRY_S = 60.0


@dataclass(slots=True)
class LocalBucket:
    """A token bucket of this process. `rate` is tokens a second; a new bucket is full."""

    tokens: float
    at: float

    def take(self, *, rate: float, burst: float, now: float) -> float:
        """Take one token: 0.0 when there was one, else the seconds until there is."""
        self.tokens = min(burst, self.tokens + max(0.0, now - self.at) * rate)
        self.at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / rate


@dataclass(slots=True)
class _State:
    """What this gateway holds of one endpoint's limit."""

    bucket: LocalBucket
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    leased: int = 0
    lease_ends_at: float = 0.0
    blocked_until: float = 0.0


class Limiter:
    """Decides whether a request of an endpoint may pass.

    Tokens are leased from Redis a few at a time (those of 20 ms, at most a tenth of the burst), so a busy
    endpoint does not pay a round trip per request; leased tokens are debited, so the sum never exceeds the
    limit. The local bucket is debited alongside and takes over when Redis fails.
    """

    def __init__(self, redis_url: str | None, metrics: Metrics) -> None:
        self._metrics = metrics
        self._states: dict[str, _State] = {}
        self._redis: Redis | None = None
        self._away_until = 0.0
        self._away = False
        if redis_url:
            self._redis = Redis.from_url(
                redis_url,
                protocol=2,
                socket_timeout=_REDIS_TIMEOUT_S,
                socket_connect_timeout=_REDIS_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )
            self._script = self._redis.register_script(BUCKET_SCRIPT)
        else:
            metrics.limiter_local.set(1)

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._redis is not None:
            await self._redis.aclose()

    async def take(self, endpoint: Endpoint) -> float:
        """Take one token of the endpoint: 0.0 when it may pass, else the seconds to wait."""
        rate, burst = endpoint.rate_limit_rps, max(1, endpoint.burst)
        if rate <= 0:
            return _CLOSED_RETRY_S
        now = time.monotonic()
        state = self._states.get(endpoint.id)
        if state is None:
            state = self._states[endpoint.id] = _State(LocalBucket(float(burst), now))
        if self._redis is None or now < self._away_until:
            return state.bucket.take(rate=rate, burst=burst, now=now)
        wait_s = await self._take_shared(endpoint.id, state, rate, burst)
        if wait_s is None:
            return state.bucket.take(rate=rate, burst=burst, now=time.monotonic())
        if wait_s == 0.0:
            state.bucket.take(rate=rate, burst=burst, now=now)
        return wait_s

    async def _take_shared(self, key: str, state: _State, rate: float, burst: int) -> float | None:
        """As `take`, from the shared bucket; None when Redis did not answer."""
        now = time.monotonic()
        if state.leased and now < state.lease_ends_at:
            state.leased -= 1
            return 0.0
        async with state.lock:
            now = time.monotonic()
            if state.leased and now < state.lease_ends_at:
                state.leased -= 1
                return 0.0
            if now < state.blocked_until:
                return state.blocked_until - now
            if now < self._away_until:
                return None
            want = max(1, int(min(rate * _LEASE_SHARE_OF_A_SECOND, burst * _LEASE_SHARE_OF_BURST)))
            try:
                async with asyncio.timeout(_REDIS_TIMEOUT_S):
                    granted, wait_ms = await self._script(
                        keys=[f"gatehouse:limit:{key}"], args=[rate, burst, want]
                    )
            except (RedisError, OSError, TimeoutError) as error:
                self._went_away(error)
                return None
            self._came_back()
            now = time.monotonic()
            if granted < 1:
                state.blocked_until = now + wait_ms / 1000
                return max(wait_ms / 1000, 0.001)
            state.leased, state.lease_ends_at = int(granted) - 1, now + _LEASE_LASTS_S
            return 0.0

    def _went_away(self, error: Exception) -> None:
        # Asked again only after a pause: no request should pay the time-out of a Redis known to be away.
        self._away_until = time.monotonic() + _RETRY_AFTER_S * random.uniform(0.8, 1.2)
        if not self._away:
            self._away = True
            self._metrics.limiter_local.set(1)
            logs.event(log, logging.WARNING, "limits are kept locally", why=type(error).__name__)

    def _came_back(self) -> None:
        if self._away:
            self._away = False
            self._metrics.limiter_local.set(0)
            logs.event(log, logging.INFO, "limits are shared again")
