"""`serve`: a web process of a scaled deployment."""

import argparse
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from gateway.server.drain import drain
from gateway.server.sockets import CannotListen, listen


class Command(BaseCommand):
    help = "Serve MCP, the admin and the dashboard in this process."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", help="address to listen on (default: MCPHUB_HOST, 127.0.0.1)")
        parser.add_argument("--port", help="port to listen on (default: MCPHUB_PORT, 8080)")
        parser.add_argument("--server", choices=("uvicorn", "daphne"), default="uvicorn")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sock = listen(settings.HUB.host, settings.HUB.port)
        except CannotListen as fault:
            raise CommandError(str(fault)) from None
        from mcphub import asgi

        if options["server"] == "uvicorn":
            from gateway.server.uvicorn import make_server

            make_server(asgi.application, drain(), settings.HUB.limits).run(sockets=[sock])
        else:
            from gateway.server.daphne import DrainingServer

            DrainingServer(asgi.application, drain(), settings.HUB.limits, sock, asgi.start, asgi.stop).run()
