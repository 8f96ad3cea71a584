"""A process that only records, for tests that kill it or take its database away.

Told over standard input, answers over standard output, a line each: `one ID` records an intent and answers
`ok ID SECONDS` or `unavailable ID SECONDS`; `flood` records from 16 clients until the process ends, an `ok` line for
each intent that is durable; `stop` ends it in good order.
"""

import asyncio
import sys
from time import monotonic

import django

CLIENTS = 16


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def one(call_id: str) -> None:
    from audit.events import AuditUnavailable, Event, Kind
    from audit.writer import writer
    from mcphub.core.clock import epoch_us

    started = monotonic()
    event = Event(kind=Kind.INTENT, at=epoch_us(), org_id="org", org="org", call_id=call_id, payload=b'{"n":1}')
    try:
        await writer().record(event)
    except AuditUnavailable:
        say("unavailable", call_id, monotonic() - started)
    else:
        say("ok", call_id, monotonic() - started)


async def flood(client: int) -> None:
    number = 0
    while True:
        number += 1
        await one(f"{client}-{number}")


async def main() -> None:
    from audit.writer import writer

    loop, under_way = asyncio.get_running_loop(), []
    while (line := (await loop.run_in_executor(None, sys.stdin.readline)).split()) and line[0] != "stop":
        if line[0] == "flood":
            under_way += [asyncio.create_task(flood(client)) for client in range(CLIENTS)]
        else:
            under_way.append(asyncio.create_task(one(line[1])))
    await asyncio.to_thread(writer().stop)


if __name__ == "__main__":
    django.setup()
    asyncio.run(main())
