"""An upstream over stdio that misbehaves as told: `python -m tests.faults.evil_stdio LOG [handshake]`.

Besides `tests.faults.evil_acts` it can `chat` (print `lines` of logs among its messages) and `cry` (flood its
standard error). `die` is SIGKILL, `cut` an exit in the middle of a line.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

from tests.faults.evil_acts import JSON_TYPE, Call, Evil, echo, unknown

WRITTEN: Final = b"\n"


class StdioCall(Call):
    """A request whose answer is a line."""

    async def respond(self, body: bytes, *, status: int = 200, type: str = JSON_TYPE, **headers: str) -> None:
        await self.say(body)

    async def begin(self) -> None:
        return

    async def part(self, text: bytes) -> None:
        await asyncio.to_thread(_put, text or WRITTEN)

    async def begin_stream(self) -> None:
        return

    async def say(self, message: bytes) -> None:
        await asyncio.to_thread(_put, message + WRITTEN)

    async def break_off(self, *, reset: bool) -> None:
        if reset:
            os.kill(os.getpid(), signal.SIGKILL)
        _put(b'{"jsonrpc":"2.0","id":')
        os._exit(0)


def _put(text: bytes) -> None:
    while text:
        text = text[os.write(1, text) :]


class EvilStdio(Evil):
    """The server: calls run beside each other."""

    async def serve(self) -> None:
        """Until its input ends."""
        running: set[asyncio.Task[None]] = set()
        reader = asyncio.StreamReader(limit=2**26)
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        while line := await reader.readline():
            message: dict[str, Any] = json.loads(line)
            self.write({"message": message})
            if "id" in message and "method" in message:
                task = asyncio.create_task(self._answer(StdioCall(message)))
                running.add(task)
                task.add_done_callback(running.discard)

    async def _answer(self, call: Call) -> None:
        if call.message["method"] != "tools/call":
            facts = self.facts(call)
            await call.say(unknown(call) if facts is None else call.result(facts))
        elif call.arguments["do"] == "chat":
            self.write({"ran": call.arguments.get("nonce", "")})
            await call.say(b"\n".join(b"INFO nothing of importance" for _ in range(call.arguments["lines"])))
            await echo(call)
        elif call.arguments["do"] == "cry":
            self.write({"ran": call.arguments.get("nonce", "")})
            await asyncio.to_thread(_cry, call.arguments["bytes"])
            await echo(call)
        else:
            await self.act(call)


def _cry(count: int) -> None:
    for _ in range(count // 10_000):
        os.write(2, b"!" * 9_999 + b"\n")


if __name__ == "__main__":
    asyncio.run(EvilStdio(Path(sys.argv[1]), handshake_only=sys.argv[2:] == ["handshake"]).serve())
