"""The tables of a new hub on SQLite, made once for all tests: with a copy of them a hub starts in half the time."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
KEPT: Final = ROOT / "var" / "tables"
NAME: Final = "mcphub.sqlite3"


def lay_out(data: Path) -> None:
    """Put an empty, migrated database into a data folder that has none."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (data / NAME).exists():
        shutil.copyfile(_made(), data / NAME)


@lru_cache(maxsize=1)
def _made() -> Path:
    """The database as this checkout's `migrate` makes it; several processes may ask at once."""
    kept = KEPT / f"{_version()}.sqlite3"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _migrate(kept)
    return kept


def _migrate(kept: Path) -> None:
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        environment = {"PATH": os.environ["PATH"], "MCPHUB_DATA_DIR": folder}
        command = [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"]
        subprocess.run(command, env=environment, cwd=folder, check=True, timeout=120)
        (Path(folder) / NAME).replace(kept)


def _version() -> str:
    """What the tables depend on: our migrations, and the libraries with theirs."""
    ours = (path for app in ROOT.glob("*/") if app.name[0] != "." for path in app.rglob("migrations/*.py"))
    seen = hashlib.sha256((ROOT / "uv.lock").read_bytes())
    for path in sorted(ours):
        seen.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return seen.hexdigest()[:16]
