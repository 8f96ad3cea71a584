"""Runs of the official suite, npm `@modelcontextprotocol/conformance`, and what they found."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from tests.harness import node

Verdict = Literal["passed", "failed", "incomplete"]

RUN_S: Final = 60
PACKAGE: Final = "@modelcontextprotocol/conformance"
WITH_KEY: Final = Path(__file__).with_name("with_key.mjs")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What one scenario checked. `remarks` has a line for every check that did not succeed."""

    succeeded: int
    failed: int
    warned: int
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """A scenario whose checks found nothing to look at has not passed."""
        if self.failed:
            return "failed"
        return "passed" if self.succeeded and not self.warned else "incomplete"


def version() -> str:
    """The version of the suite."""
    return str(json.loads((node.modules() / PACKAGE / "package.json").read_text())["version"])


def required(revision: str) -> list[str]:
    """The scenarios that a server of this revision has to pass, in the suite's order."""
    listed = yaml.safe_load((node.modules() / PACKAGE / "requirements" / f"{revision}.yaml").read_text())
    return list(listed["server"])


def run(url: str, revision: str, folder: Path, key: str = "") -> Mapping[str, Scenario]:
    """Every server scenario of a revision against `url`, by name; `folder` receives the suite's own records."""
    modules = node.modules()
    done = subprocess.run(
        [
            modules / ".bin" / "node",
            *(("--import", WITH_KEY) if key else ()),
            modules / PACKAGE / "dist" / "index.js",
            *("server", "--url", url, "--requirements", revision, "--output-dir", folder),
        ],
        env={**node.environment(), "HUB_KEY": key},
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    found = {name: scenario(checks) for name, checks in _records(folder)}
    assert found, f"the suite found nothing:\n{done.stdout}{done.stderr}"
    return found


def _records(folder: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """Scenario and checks of every record; its folder is called `server-NAME-2026-11-21T09-53-49-545Z`."""
    records = sorted(folder.glob("server-*/checks.json"))
    return [(_name(path.parent.name), json.loads(path.read_text())) for path in records]


def _name(folder: str) -> str:
    stamp = "-2026-11-21T09-53-49-545Z"
    return folder.removeprefix("server-")[: -len(stamp)]


def scenario(checks: list[dict[str, Any]]) -> Scenario:
    """What the checks of one scenario found."""
    count = {
        status: sum(check["status"] == status for check in checks) for status in ("SUCCESS", "FAILURE", "WARNING")
    }
    remarks = [
        f"{check['id']}: {check.get('errorMessage', '')}"
        for check in checks
        if check["status"] in ("FAILURE", "WARNING")
    ]
    return Scenario(count["SUCCESS"], count["FAILURE"], count["WARNING"], tuple(remarks))
