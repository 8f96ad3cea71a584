"""`make conformance`: run the suite, write docs/conformance.md, fail when anything in it must not be."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.conformance import as_client, report, suite
from tests.conformance.report import AsClient, Results
from tests.harness.hub import ROOT, Hub, servers_file
from tests.harness.processes import free_port
from tests.harness.upstreams import listening

PAGE: Final = ROOT / "docs" / "conformance.md"
REVISION_OF: Final[Mapping[str, str]] = {"modern": "2026-07-28", "handshake": "2025-11-25"}

Found = dict[str, Mapping[str, suite.Scenario]]


@contextmanager
def fixture(era: str, folder: Path) -> Iterator[str]:
    """The fixture upstream of one era; gives its URL."""
    port = free_port()
    command = [sys.executable, "-m", "tests.conformance.fixture", era, str(port)]
    with listening(command, port, folder / f"{era}.log", {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}):
        yield f"http://127.0.0.1:{port}/mcp"


def main() -> int:
    """Exit code 0 when everything holds."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-")))
        urls = {era: stack.enter_context(fixture(era, folder)) for era in REVISION_OF}
        direct = {era: suite.run(url, REVISION_OF[era], folder / f"direct-{era}") for era, url in urls.items()}
        hub = stack.enter_context(Hub(folder / "hub"))
        servers = servers_file(folder / "servers.json", {era: {"url": url} for era, url in urls.items()})
        hubs = {"up": _measured(hub.up("--config", str(servers)).until_listed(*urls), folder / "up")}
        hub.terminate()
        hubs["serve"] = _measured(hub.serve().until_listed(*urls), folder / "serve")
        hub.terminate()
        walked = as_client.run_all(folder / "client", list(REVISION_OF.values()))
    results = [
        Results(revision, suite.required(revision), direct[era], {name: found[era] for name, found in hubs.items()})
        for era, revision in REVISION_OF.items()
    ]
    clients = [
        AsClient(name, revision, name in as_client.required_in(revision), found)
        for revision, scenarios in walked.items()
        for name, found in scenarios.items()
    ]
    PAGE.write_text(report.page(suite.version(), results, clients))
    faults = [fault for each in (*results, *clients) for fault in each.faults()]
    print(*faults, f"{len(faults)} faults; {PAGE.relative_to(ROOT)} is written", sep="\n")
    return 1 if faults else 0


def _measured(hub: Hub, folder: Path) -> Found:
    return {
        era: suite.run(f"{hub.url}/mcp/default/{era}", revision, folder / era, hub.key)
        for era, revision in REVISION_OF.items()
    }


if __name__ == "__main__":
    sys.exit(main())
