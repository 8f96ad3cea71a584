"""`up`: the standalone hub in one process."""

import argparse
import json
import socket
import ssl
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from gateway.server.sockets import CannotListen, listen
from mcphub.accounts import links
from mcphub.accounts.models import Org
from mcphub.accounts.services import Refused
from mcphub.checks import TAG
from mcphub.core.starting import CannotStart, check_keys
from mcphub.standalone import bootstrap, servers
from mcphub.standalone.banner import Welcome
from mcphub.standalone.servers import BadServers, Brought


class Command(BaseCommand):
    help = "Run the standalone hub: tables, first key, web, worker and beat in this one process."
    requires_system_checks = [TAG]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", help="address to listen on (default: MCPHUB_HOST, 127.0.0.1)")
        parser.add_argument("--port", help="port to listen on, 0 for any free one (default: MCPHUB_PORT, 8080)")
        parser.add_argument("--data-dir", help="folder for database and secrets (default: MCPHUB_DATA_DIR)")
        parser.add_argument("--api-key", help="text of the owner's key (default: MCPHUB_ADMIN_KEY, or a random one)")
        parser.add_argument("--config", type=Path, metavar="FILE", help="servers to bring along (mcpServers JSON)")
        parser.add_argument("--hot-reload", action="store_true", help="follow changes of the --config file")
        parser.add_argument("--server-type", choices=("stdio", "sse", "streamable-http"), help="of the one behind --")
        parser.add_argument(
            "--header", type=_headers, default={}, metavar="JSON", help="headers for the URL behind --"
        )
        parser.add_argument(
            "--env", type=_pair, action="append", default=[], metavar="K=V", help="for the command behind --"
        )
        parser.add_argument("--path-prefix", help="serve everything below this path")
        parser.add_argument("--root-path", help="path that a proxy in front cuts off")
        parser.add_argument(
            "--ssl-certfile", type=_file, metavar="FILE", help="serve TLS with this certificate chain (PEM)"
        )
        parser.add_argument(
            "--ssl-keyfile", type=_file, metavar="FILE", help="its private key, when in a file of its own"
        )
        parser.add_argument("--no-auth", action="store_true", help="let everybody on this machine in (loopback only)")
        parser.add_argument(
            "--ephemeral", action="store_true", help="keep the data in a folder that is gone at the end"
        )
        parser.add_argument("--demo", action="store_true", help="bring a bundled demo server along")
        parser.add_argument("--json", action="store_true", help="print addresses and key as one line of JSON")
        parser.add_argument("server", nargs="*", help="-- COMMAND ARG… or -- URL: serve this one alone, un-prefixed")

    def handle(self, *args: Any, **options: Any) -> None:
        brought = _brought(options)
        try:
            _check_tls(options["ssl_certfile"], options["ssl_keyfile"])
            sock = listen(settings.HUB.host, settings.HUB.port)
            self._run(sock, brought, options)
        except (CannotListen, CannotStart, BadServers, Refused) as fault:
            raise CommandError(str(fault)) from None

    def _run(self, sock: socket.socket, brought: Brought, options: dict[str, Any]) -> None:
        bootstrap.migrate()
        check_keys()
        org = bootstrap.default_org()
        if settings.HUB.admin_key:
            bootstrap.first_key(org, settings.HUB.admin_key)  # before anything runs: it may be refused
        take_over = partial(servers.take_over, org, brought)
        report = take_over()
        place = f"{brought.config}: " if brought.config else ""
        if report.faults:
            raise CommandError("\n".join(f"{place}{fault}" for fault in report.faults))
        for warning in report.warnings:
            self.stderr.write(f"{place}{warning}")
        if brought.words:
            servers.check_single(org)

        from mcphub.standalone.hub import Hub  # Twisted's reactor and the application load here, once all is well

        hub = Hub(sock, lambda: self._welcome(org, public_url(sock), as_json=options["json"]), take_over)
        hub.servers_file = brought.config.resolve() if brought.config and options["hot_reload"] else None
        hub.certfile, hub.keyfile = options["ssl_certfile"], options["ssl_keyfile"]
        hub.run()

    def _welcome(self, org: Org, url: str, *, as_json: bool) -> None:
        """Make the first key where there is none, as late as this: a key that nobody saw would be lost."""
        key = bootstrap.first_key(org, settings.HUB.admin_key)
        welcome = Welcome(url, key, settings.START.no_auth, _set_up_link(url))
        self.stdout.write(welcome.json() if as_json else welcome.text())
        self.stdout.flush()


def _set_up_link(url: str) -> str:
    """While nobody owns the hub and nobody can be picked: the link with which the first person becomes owner."""
    if "dev" in settings.HUB.sign_in or settings.START.no_auth or links.has_owner(bootstrap.ORG):
        return ""
    return urljoin(url, urlsplit(links.setup_link()).path)


def public_url(sock: socket.socket) -> str:
    """Where people reach this hub, without a slash at the end: as set, else as it listens."""
    if settings.HUB.server_url:
        return links.home()
    host, port = sock.getsockname()[:2]
    name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104  # compared only
    return f"{'https' if settings.START.tls else 'http'}://{name}:{port}{settings.START.script_name}"


def _brought(options: dict[str, Any]) -> Brought:
    words = tuple(options["server"])
    brought = Brought(
        config=options["config"],
        words=words,
        server_type=options["server_type"] or "",
        headers=options["header"],
        env=dict(options["env"]),
        demo=options["demo"],
    )
    for fault in _misfits(brought, options):
        raise CommandError(fault, returncode=2)
    return brought


def _misfits(brought: Brought, options: dict[str, Any]) -> Iterable[str]:
    """Flags that do not go together."""
    if settings.HUB.mode != "standalone":
        yield "up starts the standalone hub; in cloud mode the roles are serve, worker and beat."
    if options["hot_reload"] and not brought.config:
        yield "--hot-reload follows a file: name it with --config."
    if brought.config and brought.words:
        yield "--config and a server behind -- do not go together: on /mcp one server stands alone."
    if brought.headers and not brought.is_url:
        yield "--header goes with a URL behind --."
    if brought.env and (brought.is_url or not brought.words):
        yield "--env goes with a command behind --."
    if brought.server_type and not brought.words:
        yield "--server-type describes the server behind --, and there is none."
    elif brought.server_type and (brought.server_type == "stdio") == brought.is_url:
        yield f"--server-type {brought.server_type} does not go with {brought.words[0]}."
    if options["ssl_keyfile"] and not options["ssl_certfile"]:
        yield "--ssl-keyfile needs --ssl-certfile."


def _check_tls(certfile: str | None, keyfile: str | None) -> None:
    """Raises `CannotStart` for files that do not hold a certificate and its own key, unencrypted."""
    if certfile is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password="")
    except (ssl.SSLError, OSError) as error:
        why = getattr(error, "reason", None) or error.strerror or error
        raise CannotStart(f"TLS cannot be served with {certfile} and {keyfile or 'the key in it'}: {why}") from None


def _headers(text: str) -> dict[str, str]:
    try:
        headers = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise argparse.ArgumentTypeError('must be an object of texts, as {"X-Team": "blue"}')
    return headers


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, not {text!r}")
    return name, value


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return text
