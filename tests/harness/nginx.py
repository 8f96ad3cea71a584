"""A real nginx with the recipe of `docs/proxies.md`, its names and ports replaced by the test's own."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.harness.processes import Process, free_port
from tests.harness.services import program
from tests.harness.waiting import until

RECIPES: Final = Path(__file__).resolve().parents[2] / "docs" / "proxies.md"
FRAME: Final = """daemon off;
user root;
error_log {folder}/error.log;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{recipe}
}}
"""


@contextmanager
def nginx(folder: Path, port: int, backend: int, certificate: Path, key: Path) -> Iterator[None]:
    """nginx on loopback with TLS at `port`, in front of the hub at `backend`."""
    folder.mkdir(parents=True)
    found = re.search(r"```nginx\n(.+?)```", RECIPES.read_text(), re.DOTALL)
    assert found
    recipe = found[1]
    for theirs, ours in (
        ("127.0.0.1:8080", f"127.0.0.1:{backend}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/hub.example.pem", str(certificate)),
        ("/etc/ssl/hub.example.key", str(key)),
    ):
        assert theirs in recipe
        recipe = recipe.replace(theirs, ours)
    config = folder / "nginx.conf"
    config.write_text(FRAME.format(folder=folder, recipe=recipe))
    process = Process([program("nginx"), "-c", str(config), "-p", str(folder)], folder / "log")
    try:
        until("nginx", lambda: _answers(process, port), 20)
        yield
    finally:
        process.stop()


def _answers(process: Process, port: int) -> bool:
    process.expect_running()
    with socket.socket() as link:
        return link.connect_ex(("127.0.0.1", port)) == 0


__all__ = ["free_port", "nginx"]
