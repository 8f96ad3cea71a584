"""docs/conformance.md, and what in it must not be."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.conformance.suite import Scenario

NOTHING: Final = Scenario(0, 0, 0)

_ABOUT: Final = """\
# Conformance

Written by `make conformance`; it fails when the hub misses a scenario that it has to pass. There is no list
of expected failures.

The official suite, `@modelcontextprotocol/conformance` {version}, calls the hub as any client does: at one upstream's
own endpoint, with an API key. Behind the hub stands a server on the official Python SDK with the definitions that
the suite asks for, once as a server of the handshake era and once of the modern one. The suite also calls that
server without the hub between them (*direct*). The hub has to pass every scenario that the revision requires, and
every other one that the server passes directly.

`up` is the hub in one process on Daphne, `serve` the web role on uvicorn. A cell counts the checks that succeeded
and, if there are any, those that did not. A check that finds nothing to look at is not counted: where the server
opens a stream for one answer, the hub sends plain JSON, so that nothing is left to check of that stream.
"""

_AS_CLIENT: Final = """\
## The hub as an OAuth client

The suite's own servers and authorization servers stand behind the hub. Somebody adds each of them as an upstream,
calls its tool through the hub, and follows the links that they get until the call succeeds or the hub has good reason
to stop. Some scenarios belong to extensions, or to a revision that is no more; the hub has to pass these too.

| scenario | revision | required | checks |
|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Results:
    """One revision: what it requires, what the fixture passes directly, what the hub passes on each server."""

    revision: str
    required: Sequence[str]
    direct: Mapping[str, Scenario]
    hubs: Mapping[str, Mapping[str, Scenario]]

    def scenarios(self) -> list[str]:
        """Required ones first, in the suite's order."""
        return [*self.required, *sorted(self.direct.keys() - set(self.required))]

    def must_pass(self, name: str) -> bool:
        """Whether the hub has to pass the scenario."""
        return name in self.required or self.direct.get(name, NOTHING).verdict == "passed"

    def faults(self) -> Iterator[str]:
        """A line for everything that does not hold."""
        for name in self.scenarios():
            if not self.must_pass(name):
                continue
            for hub, found in self.hubs.items():
                got = found.get(name, NOTHING)
                if got.verdict != "passed":
                    yield f"{self.revision} {hub} {name}: {_cell(got)}; {'; '.join(got.remarks)}"


def page(version: str, results: Sequence[Results], as_client: Sequence["AsClient"]) -> str:
    """The page as Markdown."""
    walked = _AS_CLIENT + "".join(each.row() for each in as_client)
    return "\n".join([_ABOUT.format(version=version), *(_table(each) for each in results), walked])


@dataclass(frozen=True, slots=True)
class AsClient:
    """One scenario in which the hub is the client; it has to pass every one."""

    name: str
    revision: str
    required: bool
    found: Scenario

    def faults(self) -> Iterator[str]:
        """A line if it does not hold."""
        if self.found.verdict != "passed":
            yield f"{self.revision} as client {self.name}: {_cell(self.found)}; {'; '.join(self.found.remarks)}"

    def row(self) -> str:
        """Its line of the table."""
        return f"| {self.name} | {self.revision} | {'yes' if self.required else 'no'} | {_cell(self.found)} |\n"


def _table(results: Results) -> str:
    passed = sum(
        all(found.get(name, NOTHING).verdict == "passed" for found in results.hubs.values())
        for name in results.required
    )
    lines = [
        f"## {results.revision}",
        "",
        f"{passed} of {len(results.required)} required scenarios pass.",
        "",
        f"| scenario | required | direct | {' | '.join(results.hubs)} |",
        f"|---|---|---|{'---|' * len(results.hubs)}",
    ]
    lines += [_row(results, name) for name in results.scenarios()]
    return "\n".join([*lines, ""])


def _row(results: Results, name: str) -> str:
    cells = [
        name,
        "yes" if name in results.required else "no",
        _cell(results.direct.get(name, NOTHING)),
        *(_cell(found.get(name, NOTHING)) for found in results.hubs.values()),
    ]
    return f"| {' | '.join(cells)} |"


def _cell(scenario: Scenario) -> str:
    parts = [f"{scenario.succeeded} ok"]
    if scenario.failed:
        parts.append(f"{scenario.failed} failed")
    if scenario.warned:
        parts.append(f"{scenario.warned} warned")
    return ", ".join(parts)
