"""`serve`: the web processes of a scaled deployment."""

import argparse
import socket
import sys
from typing import Any

import structlog
from django.conf import settings
from django.core.management import BaseCommand, CommandError
from django.db import connections

from gateway.server.doors import open_doors
from gateway.server.drain import drain
from gateway.server.sockets import CannotListen, listen
from gateway.server.supervisor import Supervisor, inherited
from mcphub.checks import TAG
from mcphub.core.starting import CannotStart, check_database, check_keys

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Serve MCP, the admin and the dashboard."
    requires_system_checks = [TAG]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", help="address to listen on (default: MCPHUB_HOST, 127.0.0.1)")
        parser.add_argument("--port", help="port to listen on (default: MCPHUB_PORT, 8080)")
        parser.add_argument("--workers", type=_count, default=1, help="web processes (default: 1)")
        parser.add_argument("--server", choices=("uvicorn", "daphne"), default="uvicorn")

    def handle(self, *args: Any, **options: Any) -> None:
        if (own := inherited()) is not None:
            serve(own, options["server"])
            return
        if options["workers"] > 1 and not (
            settings.HUB.database_url.startswith("postgres") and settings.HUB.redis_url
        ):
            raise CommandError("More than one web worker needs PostgreSQL and Redis.", returncode=2)
        try:
            sock = listen(settings.HUB.host, settings.HUB.port)
            check_database()
            check_keys()
        except (CannotListen, CannotStart) as fault:
            raise CommandError(str(fault)) from None
        if options["workers"] == 1:
            serve(sock, options["server"])
        else:
            connections.close_all()
            sys.exit(Supervisor(sock, options["workers"]).run())


def serve(sock: socket.socket, server: str) -> None:
    """Run the application behind one of the servers until a signal."""
    from mcphub import asgi

    log.info("serving", address=":".join(map(str, sock.getsockname()[:2])), server=server)
    limits = settings.HUB.limits
    doors = open_doors(limits, settings.HUB.trusted_proxies)
    if server == "uvicorn":
        from gateway.server.uvicorn import make_server

        make_server(asgi.application, drain(), limits, doors).run(sockets=[sock])
    else:
        from gateway.server.daphne import DrainingServer

        DrainingServer(asgi.application, drain(), limits, doors, sock, asgi.start, asgi.stop).run()


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(text)
