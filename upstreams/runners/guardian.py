"""Ends the children of a hub that died without a word. Run as a program: `python -I -S guardian.py MARK FOLDER`.

Standard input is a pipe that only the hub holds. While it lives it writes `+PGID` and `-PGID` lines;
end of file means that it is gone. Then every process whose environment carries
`MCPHUB_CHILD_OF=MARK…` is killed (this finds children that left their process group), and every group
still listed, and FOLDER, with secret files that they were given, is removed. Standard library only: it
starts in a few milliseconds and costs little memory.
"""

import os
import shutil
import signal
import sys
import time

VARIABLE = "MCPHUB_CHILD_OF"


def marked(mark: str) -> list[int]:
    """Pids of the living processes whose environment says that they belong to `mark` (Linux only)."""
    wanted = f"{VARIABLE}={mark}".encode()
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if any(item.startswith(wanted) for item in file.read().split(b"\0")):
                    found.append(int(name))
        except OSError:
            continue
    return found


def kill(pids: list[int]) -> None:
    """SIGKILL each; those already gone, or not ours, are passed over."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def kill_marked(mark: str, rounds: int = 20) -> None:
    """Kill until no marked process is left, for some may fork while we look."""
    for _ in range(rounds):
        pids = marked(mark)
        if not pids:
            return
        kill(pids)
        time.sleep(0.01)


def watch(mark: str) -> None:
    """Read the hub's lines until it is gone, then end what it left."""
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        groups.add(group) if line[0] == "+" else groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    kill_marked(mark)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watch(sys.argv[1])
    shutil.rmtree(sys.argv[2], ignore_errors=True)
