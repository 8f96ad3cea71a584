"""`python -m tests.gateway.edge_server daphne|uvicorn DIR`: the edge with a tiny core, under the hub's own servers.

Prints its port on one line, then serves until a signal.
"""

import os
import sys


def main(kind: str, data_dir: str) -> None:
    os.environ["MCPHUB_DATA_DIR"] = data_dir
    os.environ["DJANGO_SETTINGS_MODULE"] = "mcphub.settings"
    os.environ.setdefault(
        "MCPHUB_LIMITS",
        "keepalive_s=1,body_bytes=100000,write_s=3,event_bytes=200000,body_s=2,connection_requests=20,replay_bytes=50000",
    )
    import django

    django.setup()
    from django.conf import settings
    from django.db import connection

    from gateway.edge.app import EdgeApp
    from gateway.edge.config import EdgeConfig
    from gateway.models import Session
    from gateway.server.doors import open_doors
    from gateway.server.drain import drain
    from gateway.server.sockets import listen
    from mcphub.core.workers import Workers, new_worker_id
    from tests.gateway.tiny_core import TinyCore

    if Session._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Session)
    limits = settings.HUB.limits
    core = TinyCore()
    edge = EdgeApp(core, EdgeConfig.of(settings.HUB), Workers(new_worker_id()))
    core.push = edge.sessions.push

    async def served(scope, receive, send):  # type: ignore[no-untyped-def]  # what `mcphub.asgi` does
        await (edge.websocket if scope["type"] == "websocket" else edge)(scope, receive, send)

    sock = listen("127.0.0.1", int(os.environ.get("TEST_PORT", "0")))
    print(sock.getsockname()[1], flush=True)
    if kind == "daphne":
        from gateway.server.daphne import DrainingServer

        DrainingServer(served, drain(), limits, open_doors(limits), sock, edge.start, edge.stop).run()
        return
    from gateway.server.uvicorn import make_server

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]  # the lifespan around the edge
        if scope["type"] != "lifespan":
            await served(scope, receive, send)
            return
        await receive()
        await edge.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await edge.stop()
        await send({"type": "lifespan.shutdown.complete"})

    make_server(app, drain(), limits, open_doors(limits)).run(sockets=[sock])


if __name__ == "__main__":
    main(*sys.argv[1:])
