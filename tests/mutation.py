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
import tomllib
from pathlib import Path
from typing import Final

from mutmut.stats import status_by_exit_code

LEAST: Final = 90
ROOT: Final = Path(__file__).resolve().parent.parent
NOTICED: Final = frozenset({"killed", "timeout"})
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
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    for name in (*settings["source_paths"], *settings["also_copy"], "tests", "pyproject.toml"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
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
    for name, status in sorted(found.items()):
        if status not in NOTICED:
            print(f"{status}: {name}")
    noticed = sum(status in NOTICED for status in found.values())
    score = 100 * noticed / len(found)
    print(f"{noticed} of {len(found)} changes were noticed: {score:.1f} %, at least {LEAST} % are asked for")
    return 0 if score >= LEAST else 1


def results(folder: Path) -> dict[str, str]:
    """What became of each change that was tried, in mutmut's words."""
    found: dict[str, int | None] = {}
    for file in sorted((folder / "mutants").rglob("*.meta")):
        found.update(json.loads(file.read_text())["exit_code_by_key"])
    return {name: status_by_exit_code[code] for name, code in found.items() if code is not None}


if __name__ == "__main__":
    sys.exit(main())
