"""Answers never cross: two orgs, both eras, a hundred clients, one and the same JSON-RPC id (promise 3)."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from bench.load import Load, Measured
from bench.targets import upstream
from tests.harness.hub import ROOT, Hub, servers_file
from tests.harness.raw import ERAS
from tests.soak.finding import Finding

CLIENTS: Final = 25
"""Of each of two orgs in each of two eras."""

ROUND_S: Final = 30


async def echoed(folder: Path, answers: int, round_s: float = ROUND_S) -> Finding:
    """Let every client ask for words of its own until there were so many answers; each is compared."""
    with upstream(folder) as base, _two_orgs(folder / "hub", f"{base}/mcp") as (hub, keys):
        loads = [
            Load(
                url=hub.mcp_url,
                key=key,
                era=era,
                tool="bench__echo",
                clients=CLIENTS,
                seconds=round_s,
                warm_s=0,
                words=f"{org}-{era}",
            )
            for org, key in keys.items()
            for era in ERAS
        ]
        count, wrong = 0, list[str]()
        while count < answers and not wrong:
            for outcome in await asyncio.gather(*map(_generate, loads)):
                if isinstance(outcome, Measured):
                    count += outcome.all_calls
                else:
                    wrong.append(outcome)
    done = f"{count:,} echoes of own words by {len(loads) * CLIENTS} clients of two orgs in both eras, all with id 1"
    return Finding(done, "0 crossed, 0 missing", tuple(wrong))


async def _generate(load: Load) -> Measured | str:
    """One generator in a process of its own: what it measured, or which answer was wrong."""
    command = [sys.executable, "-m", "bench.load", msgspec.json.encode(load).decode()]
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=pipe, stderr=pipe)
    out, errors = await running.communicate()
    if running.returncode:
        return errors.decode().strip().rpartition("\n")[2]
    return msgspec.json.decode(out, type=Measured)


@contextmanager
def _two_orgs(folder: Path, url: str) -> Iterator[tuple[Hub, dict[str, str]]]:
    """A hub whose two orgs have the same upstream, and the key of each one's owner."""
    servers = servers_file(folder / "servers.json", {"bench": {"url": url}})
    with Hub(folder, key=None) as hub:
        hub.prepare(servers)
        hub.manage("create_org", "other")
        hub.manage("import_servers", str(servers), "--org", "other")
        other = hub.manage_json("create_key", "owner", "--org", "other", "--role", "owner")["key"]
        hub.serve().until_listed("bench")
        yield hub, {"default": hub.key, "another": str(other)}
