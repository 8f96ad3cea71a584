"""What the writer makes durable, and how it ends."""

import asyncio

import pytest

from audit.events import Event, Kind
from audit.models import AuditEvent
from audit.writer import writer
from mcphub.core.clock import epoch_us

pytestmark = pytest.mark.django_db(transaction=True)


def event(**x):
    return Event(**{"kind": Kind.INTENT, "at": epoch_us(), "org_id": "o", "org": "default", "call_id": "c1", **x})


async def test_a():
    w = writer()
    await w.record(event(payload=b'{"a": 1, "password": "x"}'))
    await asyncio.gather(*(w.record(event(call_id=str(i))) for i in range(100)))
    w.record_soon(event(kind=Kind.OUTCOME))
    w.stop()
    assert await AuditEvent.objects.acount() == 102


def test_acts():
    from audit.services import record_act

    record_act(org_id="o", org="default", principal="test", action="x.y", target="t", before={"token": "s"}, after={})
    record_act(org_id="o", org="default", principal="test", action="x.y", target="t", before={"token": "s"}, after={})
    assert [e.id & 0xFF for e in AuditEvent.objects.all()] == [1, 2]
