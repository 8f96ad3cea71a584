"""`manage.py` with a window: `python tests/faults/watched_hub.py up …` tells whoever connects what it holds.

Host names in the JSON file `$WATCH_DIR.names` are looked up as the addresses that stand beside them there, which a
test may change. A thread of each hub process listens on `$WATCH_DIR/PID` (Unix) and answers every connection with one
JSON object: `tasks`, the names of living asyncio tasks, and `memory_kb`, its resident set after a full collection.
"""

import asyncio
import ctypes
import gc
import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mcphub.__main__ import main


def holdings() -> dict[str, object]:
    """What this process holds now."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "tasks": [task.get_name() for task in living_tasks() if not task.done()],
        "memory_kb": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


def living_tasks() -> "list[asyncio.Task[Any]]":
    """Those of all loops, seen from another thread: what `asyncio.all_tasks` does for one loop."""
    known = getattr(asyncio.tasks, "_scheduled_tasks", None) or asyncio.tasks._all_tasks
    while True:
        try:
            return list(known)
        except RuntimeError:  # it changed meanwhile
            continue


def show(window: socket.socket) -> None:
    """Answer everybody who connects."""
    while True:
        visitor, _ = window.accept()
        with visitor:
            visitor.sendall(json.dumps(holdings()).encode())


def resolve_from(names: Path) -> None:
    """Look names up in a file before asking the machine."""
    lookup = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        known = json.loads(names.read_text()) if names.exists() else {}
        return lookup(known.get(host, host), *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


if __name__ == "__main__":
    resolve_from(Path(f"{os.environ['WATCH_DIR']}.names"))
    window = socket.socket(socket.AF_UNIX)
    window.bind(f"{os.environ['WATCH_DIR']}/{os.getpid()}")
    window.listen()
    threading.Thread(target=show, args=(window,), name="window", daemon=True).start()
    main()
