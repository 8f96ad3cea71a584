"""A process that holds one upstream with a child of its own, to be killed: prints both pids and waits."""

import asyncio
import json
import sys
from pathlib import Path

import django

django.setup()

from mcphub.core.limits import Limits  # noqa: E402  # Django comes first: leases are rows
from tests.links.conftest import MemoryBook, spec, tool  # noqa: E402
from upstreams.connections import Connections  # noqa: E402
from upstreams.probe import Means  # noqa: E402
from upstreams.runners.subprocess import SubprocessRunner  # noqa: E402
from upstreams.secretfiles import SecretFile, mark  # noqa: E402


async def main() -> None:
    runner = SubprocessRunner(stderr_bytes=1000, grace_s=1, files=Path(sys.argv[2]))
    hub = Connections(Means(Limits(), runner), MemoryBook())
    await hub.start()
    upstream = spec(
        transport="stdio",
        command=sys.executable,
        args=(sys.argv[1], "deaf"),
        era="handshake",
        env={"KEY_AT": mark("KEY")},
        files={"KEY": SecretFile("key", b"canary")},
    )
    pids = [json.loads((await hub.call(upstream, tool(do))).result)["pid"] for do in ("echo", "grandchild")]
    environment = json.loads((await hub.call(upstream, tool("environment"))).result)
    print(*pids, environment["KEY_AT"], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
