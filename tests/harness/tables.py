"""The tables of a new hub, made once for all tests by `migrate`: a hub starts much faster with a copy of them."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

from tests.harness.services import PostgreSQL, program

ROOT: Final = Path(__file__).resolve().parents[2]
KEPT: Final = ROOT / "var" / "tables"
NAME: Final = "mcphub.sqlite3"


def lay_out(data: Path) -> None:
    """Put an empty, migrated database into a data folder that has none."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (data / NAME).exists():
        shutil.copyfile(_made(), data / NAME)


def lay_out_postgresql(url: str) -> None:
    """The same in the empty database of a PostgreSQL server; the hub's own options in the URL are left out."""
    server = url.partition("?")[0]
    command = [program("psql"), "--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-f", str(_dumped()), server]
    subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL)


@lru_cache(maxsize=1)
def _made() -> Path:
    """The file as this checkout's `migrate` makes it."""
    return _kept("sqlite3", _migrate_file)


@lru_cache(maxsize=1)
def _dumped() -> Path:
    """A dump of what `migrate` makes in PostgreSQL."""
    return _kept("sql", _migrate_server)


def _kept(suffix: str, make: Callable[[Path], None]) -> Path:
    """What was made for these migrations before, or is now; several processes may ask at once."""
    kept = KEPT / f"{_version()}.{suffix}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            make(kept)
    return kept


def _migrate_file(kept: Path) -> None:
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        _migrate(Path(folder))
        (Path(folder) / NAME).replace(kept)


def _migrate_server(kept: Path) -> None:
    server = PostgreSQL()
    server.start()
    try:
        with tempfile.TemporaryDirectory(dir=KEPT) as folder:
            _migrate(Path(folder), MCPHUB_DATABASE_URL=server.url)
            dump = Path(folder) / kept.name
            subprocess.run([program("pg_dump"), "--no-owner", "-f", str(dump), server.url], check=True, timeout=120)
            dump.replace(kept)
    finally:
        server.close()


def _migrate(data: Path, **settings: str) -> None:
    environment = {"PATH": os.environ["PATH"], "MCPHUB_DATA_DIR": str(data), **settings}
    command = [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"]
    subprocess.run(command, env=environment, cwd=data, check=True, timeout=120)


def _version() -> str:
    """What the tables depend on: our migrations, and the libraries with theirs."""
    ours = (path for app in ROOT.glob("*/") if app.name[0] != "." for path in app.rglob("migrations/*.py"))
    seen = hashlib.sha256((ROOT / "uv.lock").read_bytes())
    for path in sorted(ours):
        seen.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return seen.hexdigest()[:16]
