"""A small application behind a real server, as its own process: `python -m tests.ops.probe_app SERVER [LIMIT=…]`.

It prints `listening PORT` and answers: `/sleep?S`, `/length` (bytes received), `/big?N` (N bytes in one
message), `/flood?N` (N bytes in pieces of 64 KiB), `/news` (a stream without end), `/facts`.
"""

import asyncio
import json
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")

from gateway.server.doors import open_doors
from gateway.server.drain import Drain
from gateway.server.sockets import listen
from mcphub.core.limits import Limits

PIECE = 64 * 1024
facts = {"started": 0, "stopped": 0, "flooded": 0, "left": 0, "cancelled": 0}
drain: Drain


async def start() -> None:
    facts["started"] += 1
    print("listening", sock.getsockname()[1], flush=True)


async def stop() -> None:
    facts["stopped"] += 1
    print("stopped", json.dumps(facts), flush=True)


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await stop()
        await send({"type": "lifespan.shutdown.complete"})
        return
    query = scope["query_string"].decode()
    try:
        await PAGES[scope["path"]](query, receive, send)
    except asyncio.CancelledError:
        facts["cancelled"] += 1
        raise


async def answer(send, body, status=200):
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def body_length(receive):
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        length += len(message["body"])
        if not message.get("more_body"):
            return length


async def sleep(query, receive, send):
    await body_length(receive)
    print("sleeping", flush=True)
    await asyncio.sleep(float(query))
    await answer(send, b"slept")


async def length(query, receive, send):
    total = await body_length(receive)
    if total is not None:
        await answer(send, str(total).encode())


async def big(query, receive, send):
    await answer(send, b"x" * int(query))


async def flood(query, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(int(query) // PIECE):
        await send({"type": "http.response.body", "body": b"x" * PIECE, "more_body": True})
        facts["flooded"] += PIECE
    await send({"type": "http.response.body", "body": b""})


async def news(query, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
    message = await receive()
    facts["left"] += message["type"] == "http.disconnect"
    print("left", flush=True)
    await send({"type": "http.response.body", "body": b""})


async def show(query, receive, send):
    await answer(send, json.dumps(facts).encode())


async def healthz(query, receive, send):
    await answer(send, b"", 503 if drain.draining else 200)


PAGES = {
    "/sleep": sleep,
    "/length": length,
    "/big": big,
    "/flood": flood,
    "/news": news,
    "/facts": show,
    "/healthz": healthz,
}

if __name__ == "__main__":
    limits = Limits().override(",".join(part for part in sys.argv[2:] if "/" not in part))
    tls = [part for part in sys.argv[2:] if "/" in part]
    drain = Drain(limits.drain_notice_s, limits.drain_s)
    sock = listen("127.0.0.1", 0)
    if sys.argv[1] == "uvicorn":
        from gateway.server.uvicorn import make_server

        files = dict(zip(("certfile", "keyfile"), tls, strict=False))
        make_server(application, drain, limits, open_doors(limits), **files).run(sockets=[sock])
    else:
        from gateway.server.daphne import DrainingServer

        DrainingServer(application, drain, limits, open_doors(limits), sock, start, stop).run(*tls)
