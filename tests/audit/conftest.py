import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from audit.events import Event, Kind
from audit.stores import store_for
from audit.writer import Writer
from mcphub.core.clock import epoch_us

MakeEvent = Callable[..., Event]


def record(writer: Writer, *events: Event) -> None:
    """Record all of `events` at once, each waited for; the database is left to the calling thread."""

    async def together() -> None:
        await asyncio.gather(*(writer.record(event) for event in events))

    asyncio.run(together())


@pytest.fixture
def writing(transactional_db: None) -> Iterator[Writer]:
    """A writer of this test's own."""
    writer = Writer(store_for(connection.vendor, fsync=False), settings.HUB.limits)
    yield writer
    writer.stop()


@pytest.fixture
def an_event() -> MakeEvent:
    """An intent with sensible values; name what should differ."""

    def make(**changes: Any) -> Event:
        values: dict[str, Any] = {
            "kind": Kind.INTENT,
            "at": epoch_us(),
            "org_id": "org-1",
            "org": "default",
            "call_id": "call-1",
            "principal_id": "user:anna",
            "principal": "anna@example.org",
            "upstream": "time",
            "name": "get_current_time",
        }
        return Event(**{**values, **changes})

    return make
