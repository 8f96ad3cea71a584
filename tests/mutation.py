"""Do the tests notice when policy decides differently? Mutation testing of the modules that decide without I/O.

`python -m tests.mutation` changes them in one place after another, in a copy of the checkout, and runs the tests that
reach the place; `--sample N` only changes whose number ends in the digit N. A change that no test notices survives.
It ends with 1 when fewer than `LEAST` of a hundred changes are noticed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

LEAST: Final = 90
ROOT: Final = Path(__file__).resolve().parent.parent
FOLDERS: Final = ("policies", "mcphub", "audit", "upstreams", "gateway", "templates", "static", "tests")
FILES: Final = ("manage.py", "pyproject.toml")
MUTMUT: Final = Path(sys.executable).with_name("mutmut")


def main() -> int:
    """Run, tell the survivors and the score."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", metavar="DIGIT", help="only changes whose number ends in it")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there and leave it: mutmut show NAME")
    chosen = parser.parse_args()
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="mcphub-mutation-"))
    try:
        copy(folder)
        return run(folder, chosen.sample)
    finally:
        if chosen.keep is None:
            shutil.rmtree(folder)


def copy(folder: Path) -> None:
    """What is changed and what its tests need, as it stands in the checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    for name in FILES:
        shutil.copy2(ROOT / name, folder / name)


def run(folder: Path, sample: str | None) -> int:
    """Mutate, count, print. The code to exit with."""
    names = [f"*__mutmut_*{sample}"] if sample else []
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with (folder / "mutmut.log").open("w") as log:
        command = [MUTMUT, "run", "--max-children", str(os.cpu_count() or 1), *names]
        ended = subprocess.run(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False
        )
    found = results(folder)
    if ended.returncode or not found:
        print((folder / "mutmut.log").read_text()[-4_000:])
        return 1
    noticed = sum(code not in (0, 33, 5) for code in found.values())
    for name, code in sorted(found.items()):
        if code in (0, 33, 5):
            print(f"survived: {name}")
    score = 100 * noticed / len(found)
    print(f"{noticed} of {len(found)} changes were noticed: {score:.1f} %, at least {LEAST} % are asked for")
    return 0 if score >= LEAST else 1


def results(folder: Path) -> dict[str, Any]:
    """What the tests ended with for each change that was tried."""
    found: dict[str, Any] = {}
    for file in sorted((folder / "mutants").rglob("*.meta")):
        found.update(json.loads(file.read_text())["exit_code_by_key"])
    return {name: code for name, code in found.items() if code is not None}


if __name__ == "__main__":
    sys.exit(main())
