"""A command that tells what it was given: on stderr with every call, and it dies of every second one."""

import json
import os
import sys

calls = 0
for line in sys.stdin:
    message = json.loads(line)
    method, id_ = message.get("method"), message.get("id")
    result = None
    if method == "initialize":
        result = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "spilling", "version": "1"},
        }
    elif method == "tools/list":
        result = {"tools": [{"name": "spill", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call":
        calls += 1
        own = {name: value for name, value in os.environ.items() if name.startswith("GIVEN_")}
        files = [open(path).read() for name, path in own.items() if name.startswith("GIVEN_FILE")]  # noqa: SIM115
        print("Traceback:", own, *files, file=sys.stderr, flush=True)
        if calls % 2 == 0:
            sys.exit(3)
        result = {"content": [{"type": "text", "text": "spilled"}]}
    elif method == "ping":
        result = {}
    if id_ is not None:
        error = {"error": {"code": -32601, "message": "no"}}
        print(
            json.dumps({"jsonrpc": "2.0", "id": id_, **({"result": result} if result is not None else error)}),
            flush=True,
        )
