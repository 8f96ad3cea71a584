"""Time: aware dates for records, a monotonic clock for durations."""

import time
from datetime import UTC, datetime

monotonic = time.monotonic


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def epoch_us() -> int:
    """Microseconds since 1970, for rows that are written in bulk without model objects."""
    return time.time_ns() // 1000
