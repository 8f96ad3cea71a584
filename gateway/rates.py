"""Calls counted over sliding windows: in this process, or in Redis for all processes together.

Both keep the moment of every call that was let through, so that no window ever holds more than its limit. Redis that
does not answer is left alone for a while; until then each process counts for itself.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from gateway.calls import Call
from gateway.router import Reach
from mcphub.core import clock
from mcphub.core.ids import new_uuid
from policies.rates import RateSpec

if TYPE_CHECKING:
    from redis.asyncio import Redis

MOST_WINDOWS: Final = 50_000
REDIS_S: Final = 0.25
AWAY_S: Final = 5
PREFIX: Final = "mcphub:rate:"

TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local worst, wait = 0, 0
for place, key in ipairs(KEYS) do
  local calls, window = tonumber(ARGV[2 * place]), tonumber(ARGV[2 * place + 1])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  if redis.call('ZCARD', key) >= calls then
    local left = redis.call('ZRANGE', key, -calls, -calls, 'WITHSCORES')[2] + window - now
    if left > wait then worst, wait = place, left end
  end
end
if worst == 0 then
  for place, key in ipairs(KEYS) do
    redis.call('ZADD', key, now, ARGV[1])
    redis.call('PEXPIRE', key, ARGV[2 * place + 1] / 1000 + 1000)
  end
end
return {worst, wait}
"""
"""KEYS: the windows. ARGV: a name for this call, then calls and microseconds of each. Which is full, for how long."""

log = structlog.get_logger(__name__)


class Window(msgspec.Struct, frozen=True):
    """What is counted together, how many calls it may hold, and for how many seconds it looks back."""

    key: str
    calls: int
    seconds: int


class Over(msgspec.Struct, frozen=True):
    """A call too many: by which limit, and after how many seconds one fits again."""

    spec: RateSpec
    wait_s: int


class Windows:
    """The windows of one process. The ones that were used longest ago are forgotten beyond `MOST_WINDOWS`."""

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self._now = now
        self._calls: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, windows: Sequence[Window]) -> tuple[int, float] | None:
        """Count one call in all of them; or the one that is full for longest, with the seconds, and count nothing."""
        now = self._now()
        logs = [self._log(window, now) for window in windows]
        full = [
            (log[-window.calls] + window.seconds - now, place)
            for place, (window, log) in enumerate(zip(windows, logs, strict=True))
            if len(log) >= window.calls
        ]
        if full:
            left, place = max(full)
            return place, left
        for log in logs:
            log.append(now)
        return None

    def _log(self, window: Window, now: float) -> deque[float]:
        log = self._calls.get(window.key)
        if log is None:
            if len(self._calls) >= MOST_WINDOWS:
                self._calls.popitem(last=False)
            log = self._calls[window.key] = deque()
        self._calls.move_to_end(window.key)
        while log and log[0] <= now - window.seconds:
            log.popleft()
        return log


class RateLimiter:
    """Bound to this process's windows, and to Redis where processes share it."""

    def __init__(self, redis_url: str = "") -> None:
        self._own: Final = Windows()
        self._redis_url = redis_url
        self._redis: Redis | None = None
        self._script: Any = None
        self._away_until = float("-inf")

    async def over(self, call: Call, reach: Reach) -> Over | None:
        """Count a call toward the limits that speak of it; the one that it is too many for, if any.

        What is hidden from the principal is not counted: an answer of its own would tell that it is there.
        """
        principal = reach.principal
        specs = reach.snapshot.rates.of(principal.roles, call.target)
        if not specs or not reach.shows(call.target):
            return None
        windows = [Window(spec.key(principal.id, call.target), spec.calls, spec.seconds) for spec in specs]
        full = await self._take(windows)
        return None if full is None else Over(specs[full[0]], max(1, math.ceil(full[1])))

    async def stop(self) -> None:
        """Leave Redis."""
        if self._redis is not None:
            await self._redis.aclose()

    async def _take(self, windows: Sequence[Window]) -> tuple[int, float] | None:
        if not self._redis_url or clock.monotonic() < self._away_until:
            return self._own.take(windows)
        from redis.exceptions import RedisError  # a quarter of a second that a hub without Redis need not pay

        try:
            return await self._take_in_redis(windows)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = clock.monotonic() + AWAY_S
            log.warning("rate_limits_local", error=type(error).__name__)
            return self._own.take(windows)

    async def _take_in_redis(self, windows: Sequence[Window]) -> tuple[int, float] | None:
        if self._redis is None:
            from redis.asyncio import from_url

            self._redis = from_url(self._redis_url, socket_timeout=REDIS_S, socket_connect_timeout=REDIS_S)
            self._script = self._redis.register_script(TAKE)
        sizes = [number for window in windows for number in (window.calls, window.seconds * 1_000_000)]
        keys = [PREFIX + window.key for window in windows]
        place, left = await self._script(keys=keys, args=[new_uuid().hex, *sizes])
        return (place - 1, left / 1_000_000) if place else None
