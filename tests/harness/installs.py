"""Hubs as they are installed: `up` on SQLite and Daphne, or `serve` on a PostgreSQL of its own and uvicorn."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from tests.harness.hub import Hub
from tests.harness.services import PostgreSQL

Install = Literal["up-sqlite", "serve-postgresql"]
INSTALLS: Final[tuple[Install, Install]] = ("up-sqlite", "serve-postgresql")

POOL: Final = "?pool_min=3&pool_max=3"
"""Of one size, so that the number of open connections says nothing of how busy the hub was."""


@contextmanager
def installed(
    install: Install, folder: Path, servers: Path, make: type[Hub] = Hub, **settings: str
) -> Iterator[tuple[Hub, PostgreSQL | None]]:
    """A running hub with the upstreams of a servers file, and its database where that is a process of its own."""
    if install == "up-sqlite":
        with make(folder, **settings) as hub:
            yield hub.up("--config", str(servers)), None
        return
    postgresql = PostgreSQL()
    postgresql.start()
    try:
        with make(folder, key=None, database_url=postgresql.url + POOL, **settings) as hub:
            hub.prepare(servers)
            yield hub.serve(), postgresql
    finally:
        postgresql.close()
