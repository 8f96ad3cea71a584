"""`docs/reliability.md`: one line for each long proof, written anew by each full run of it."""

import datetime
import re
import subprocess
from pathlib import Path
from typing import Final

from bench import machine
from tests.harness.hub import ROOT
from tests.soak.finding import Finding

PAGE: Final = ROOT / "docs" / "reliability.md"
LINE: Final = re.compile(r"^\| `([a-z-]+)` \|.*\|$", re.MULTILINE)

HEAD: Final = """\
# Reliability

What the hub promises about its own death and long life, as it was last measured. Each line is written by
`make soak ARGS="--part NAME"`; short versions of all of them run with every `make test`. A line is only written
when the promise held. `SECURITY.md` has the promises in words.

| proof | done | seen | when |
|---|---|---|---|
"""


def write(part: str, finding: Finding, took_s: float, page: Path = PAGE) -> None:
    """Put the line of one proof into the page, in place of the one before."""
    lines = {found[1]: found[0] for found in LINE.finditer(page.read_text())} if page.exists() else {}
    when = f"{datetime.date.today()}, {commit()}, {took_s / 60:.0f} min on {machine.description()}"
    lines[part] = f"| `{part}` | {finding.done} | {finding.seen} | {when} |"
    page.write_text(HEAD + "\n".join(lines[name] for name in sorted(lines)) + "\n")


def commit() -> str:
    """The commit that was measured."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip() or "unknown"
