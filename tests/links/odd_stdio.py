"""A stdio upstream with bad habits, standard library only: `python odd_stdio.py [HABIT]`.

Habits: `chatty` (prints logs on stdout), `silent-before-initialize`, `dies-at-discover`, `dies-at-start`,
`deaf` (ignores the end of its input and SIGTERM), `modern-and-slow` (too late for the first question).
It lists a tool for each capability that its client declared.
"""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

HABIT = sys.argv[1] if len(sys.argv) > 1 else ""


def say(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def call(id: int, do: str, arguments: dict[str, Any]) -> None:
    if do == "die":
        print("about to die of secret-value-1", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "long-line":
        print(f'{{"jsonrpc":"2.0","id":{id},"result":{{"x":"', end="")
        for _ in range(50):
            print("y" * 2**20, end="")
        print('"}}', flush=True)
        return
    if do == "flood-stderr":
        for _ in range(200):
            print("z" * 10_000, file=sys.stderr)
    if do == "noise":
        for n in range(1000):
            print(f"INFO this is not JSON-RPC {n}")
    if do == "endless-noise":
        while True:
            print("n" * 10_000)
    if do == "grandchild":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        say({"id": id, "result": {"pid": child.pid}})
        return
    if do == "environment":
        say({"id": id, "result": dict(os.environ)})
        return
    if do == "ask-untied":
        say({"id": 900, "method": "elicitation/create", "params": {}})
        answer = json.loads(sys.stdin.readline())
        say({"id": id, "result": {"answer": answer}})
        return
    if do == "wrong-id":
        say({"id": 4711, "result": {}})
        return
    if do == "close-stdout":
        os.close(1)
        return
    if do == "twice":
        say({"id": id, "result": {"pid": os.getpid()}})
    if do == "hang":
        return
    say({"id": id, "result": {"pid": os.getpid(), **arguments}})


def main() -> None:
    if HABIT == "dies-at-start":
        print("no configuration found", file=sys.stderr)
        sys.exit(3)
    if HABIT == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    declared: dict[str, Any] = {}
    waiting: list[Any] = []
    for line in sys.stdin:
        message = json.loads(line)
        method, id = message.get("method"), message.get("id")
        if HABIT == "chatty":
            print("INFO handling", method, flush=True)
        if HABIT == "modern-and-slow" and method in ("server/discover", "initialize"):
            waiting.append(message)
            if method == "server/discover" and len(waiting) > 1:
                about = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
                say({"id": id, "result": {"resultType": "complete", **about}})
            elif method == "initialize":
                say({"id": id, "error": {"code": -32601, "message": "Method not found"}})
        elif method == "initialize":
            revision, declared = message["params"]["protocolVersion"], message["params"]["capabilities"]
            say({"id": id, "result": {"protocolVersion": revision, "capabilities": {"tools": {}}}})
        elif method == "server/discover" and HABIT == "dies-at-discover":
            sys.exit(1)
        elif method == "server/discover" and HABIT == "silent-before-initialize":
            continue
        elif method == "tools/call":
            call(id, message["params"]["name"], message["params"].get("arguments", {}))
        elif method == "tools/list":
            tools = [{"name": f"needs-{name}", "inputSchema": {"type": "object"}} for name in sorted(declared)]
            say({"id": id, "result": {"tools": tools}})
        elif method == "ping":
            say({"id": id, "result": {}})
        elif method == "notifications/cancelled":
            print("cancelled", message["params"]["requestId"], file=sys.stderr, flush=True)
        elif id is not None:
            say({"id": id, "error": {"code": -32601, "message": "Method not found"}})
    while HABIT == "deaf":
        time.sleep(1)


main()
