"""`up`: the standalone hub in one process."""

import argparse
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from gateway.server.drain import drain
from gateway.server.sockets import CannotListen, listen
from mcphub.standalone import bootstrap


class Command(BaseCommand):
    help = "Run the standalone hub: tables, first key, web, worker and beat in this one process."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", help="address to listen on (default: MCPHUB_HOST, 127.0.0.1)")
        parser.add_argument("--port", help="port to listen on (default: MCPHUB_PORT, 8080)")
        parser.add_argument("--data-dir", help="folder for database and secrets (default: MCPHUB_DATA_DIR)")
        parser.add_argument("--api-key", help="text of the owner's key (default: MCPHUB_ADMIN_KEY, or a new one)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sock = listen(settings.HUB.host, settings.HUB.port)
        except CannotListen as fault:
            raise CommandError(str(fault)) from None
        bootstrap.migrate()
        key = bootstrap.first_key(settings.HUB.admin_key)
        from gateway.server.daphne import DrainingServer
        from mcphub import asgi

        async def start() -> None:
            await asgi.start()
            url = f"http://{settings.HUB.host}:{sock.getsockname()[1]}{settings.START.script_name}"
            self.stdout.write(
                f"Dashboard  {url}/\nMCP        {url}/mcp\n" + (f"Key        {key.plain}\n" if key.plain else "")
            )
            self.stdout.flush()

        DrainingServer(asgi.application, drain(), settings.HUB.limits, sock, start, asgi.stop).run()
