"""Which web processes of this machine have ended: each holds a lock on a file of its own, which goes with it.

A lock that can be taken is proof that its process has ended, however it did; one that is only stopped, or cut off
from everything, still holds it. Of a process elsewhere, or where files cannot be locked, nothing is known.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

import structlog

BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
"""Tells machines apart that share a folder: a lock says nothing across a network."""
OLD_S: Final = 86_400

log = structlog.get_logger(__name__)


class Presence:
    """That of the worker `own`; its file is below `folder`."""

    def __init__(self, folder: Path, own: str) -> None:
        self._folder: Final = folder / BOOT.read_text().strip() if BOOT.exists() else None
        self._own: Final = own
        self._held: int | None = None

    def begin(self) -> None:
        """Be there, before anybody knows of this worker; others then learn of its end. Old files are removed."""
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._tidy(self._folder.parent)
            held = os.open(self._folder / self._own, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            log.warning("presence_not_shown", error=type(error).__name__)
            return
        self._held = held
        if self.has_ended(self._own):  # the lock locks nothing here
            self.end()

    def end(self) -> None:
        """Leave without a trace."""
        if self._held is not None and self._folder is not None:
            (self._folder / self._own).unlink(missing_ok=True)
            os.close(self._held)
            self._held = None

    def has_ended(self, worker: str) -> bool:
        """Whether it is certain that this worker's process is gone."""
        return self._folder is not None and _is_free(self._folder / worker)

    def _tidy(self, everywhere: Path) -> None:
        for file in everywhere.glob("*/*"):
            if time.time() - file.stat().st_mtime > OLD_S and _is_free(file):
                file.unlink(missing_ok=True)


def _is_free(file: Path) -> bool:
    """Whether a lock on the file can be taken; it is given back at once."""
    try:
        tried = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(tried, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(tried)
