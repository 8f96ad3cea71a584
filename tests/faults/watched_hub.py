"""`manage.py` with a window: `python tests/faults/watched_hub.py up …` tells whoever connects what it holds.

A thread of each hub process listens on `$WATCH_DIR/PID` (Unix) and answers every connection with one JSON object:
`tasks`, the names of the living asyncio tasks, and `memory_kb`, its resident set after a full collection.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mcphub.__main__ import main


def holdings() -> dict[str, object]:
    """What this process holds now."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    tasks = [each for each in gc.get_objects() if isinstance(each, asyncio.Task)]
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "tasks": [task.get_name() for task in tasks if not task.done()],
        "memory_kb": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


def show(window: socket.socket) -> None:
    """Answer everybody who connects."""
    while True:
        visitor, _ = window.accept()
        with visitor:
            visitor.sendall(json.dumps(holdings()).encode())


if __name__ == "__main__":
    window = socket.socket(socket.AF_UNIX)
    window.bind(f"{os.environ['WATCH_DIR']}/{os.getpid()}")
    window.listen()
    threading.Thread(target=show, args=(window,), name="window", daemon=True).start()
    main()
