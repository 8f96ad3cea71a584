"""The suite's authorization scenarios, in which the hub is the client: what they found.

The suite runs `walker` for each of its servers: a person who adds the server to a running hub and connects with it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from tests.conformance.suite import PACKAGE, Scenario
from tests.conformance.suite import scenario as scenario_of
from tests.harness import node
from tests.harness.hub import ROOT, Hub
from tests.oauth.person import Person

PUBLIC: Final = "https://conformance-test.local"
"""The hub's public address: the suite expects the hub's client ID metadata document there."""

RUN_S: Final = 120
OLDEST: Final = "2025-03-26"
EMAIL: Final = "walker@example.com"
OF_EXTENSIONS: Final = ("auth/client-credentials-jwt", "auth/client-credentials-basic")
OF_2025_03_26: Final = ("auth/2025-03-26-oauth-metadata-backcompat", "auth/2025-03-26-oauth-endpoint-fallback")
"""Scenarios that no revision requires any more, or not yet, and that the hub passes all the same."""


@dataclass(frozen=True, slots=True)
class Walk:
    """A running hub with somebody who connects accounts."""

    port: int
    key: str
    org: str

    def run(self, scenario: str, revision: str, folder: Path) -> Scenario:
        """One scenario; `folder` receives the suite's own records."""
        modules = node.modules()
        me = {"port": self.port, "public": PUBLIC, "email": EMAIL, "key": self.key, "org": self.org}
        done = subprocess.run(
            [
                *(modules / ".bin" / "node", modules / PACKAGE / "dist" / "index.js", "client"),
                *("--command", f"{sys.executable} -m tests.conformance.walker"),
                *("--scenario", scenario, "--spec-version", revision, "--force"),
                *("--timeout", str(RUN_S * 1000), "--output-dir", folder),
            ],
            cwd=ROOT,
            env={**node.environment(), "WALKER": json.dumps(me), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=RUN_S + 10,
        )
        records = sorted(folder.glob(f"{scenario}-*/checks.json"))
        assert records, f"the suite found nothing:\n{done.stdout}{done.stderr}"
        return scenario_of(json.loads(records[-1].read_text()))


@contextmanager
def walking(folder: Path) -> Iterator[Walk]:
    """A hub for the scenarios, with its walker."""
    with Hub(folder, egress_allow="127.0.0.1,localhost,::1", server_url=PUBLIC) as hub:
        hub.up()
        with Person(hub.port, EMAIL, PUBLIC):
            key = hub.manage_json("create_key", "walker", "--user", EMAIL)
        org = hub.manage_json("create_org", "default", "--if-absent")
        yield Walk(hub.port, str(key["key"]), str(org["id"]))


def required(revision: str) -> list[str]:
    """The authorization scenarios that a client of this revision has to pass, in the suite's order."""
    listed = yaml.safe_load((node.modules() / PACKAGE / "requirements" / f"{revision}.yaml").read_text())
    return [name for name in listed["client"] if name.startswith("auth/")]


def required_in(revision: str) -> Sequence[str]:
    """The same; nothing for revisions that the suite requires no more."""
    return required(revision) if revision != OLDEST else ()


def run_all(folder: Path, revisions: Sequence[str]) -> dict[str, Mapping[str, Scenario]]:
    """Every scenario by revision and name, those that are not required among them."""
    with walking(folder / "hub") as walk:
        found: dict[str, Mapping[str, Scenario]] = {
            revision: {name: walk.run(name, revision, folder / revision) for name in required(revision)}
            for revision in revisions
        }
        newest = revisions[0]
        found[newest] = {
            **found[newest],
            **{name: walk.run(name, newest, folder / "extensions") for name in OF_EXTENSIONS},
        }
        found[OLDEST] = {name: walk.run(name, OLDEST, folder / "old") for name in OF_2025_03_26}
    return found
