"""What every test may ask for. Settings are made in `tests/environment.py`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.services import PostgreSQL, Redis


@pytest.fixture
def postgresql() -> Iterator[PostgreSQL]:
    """A private PostgreSQL with an empty database `hub`."""
    server = PostgreSQL()
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A private, empty Redis."""
    server = Redis(tmp_path / "redis")
    server.start()
    yield server
    server.stop()
