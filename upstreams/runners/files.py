"""Secret files on their way to a process: 0600 in a folder of that process alone, gone with it.

A hub that was killed leaves its folder behind: its guardian removes it, and so does the next hub that starts with
the same data. Whose folder is whose is told by a lock that ends with its process.
"""

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from upstreams.runners.base import Command
from upstreams.secretfiles import SecretFile, with_paths

LOCK: Final = ".lock"


class LentFiles:
    """The folders that this hub process has lent. `root` is shared by all hub processes of the same data."""

    def __init__(self, root: Path, mark: str) -> None:
        self.folder: Final = root / mark
        self._root = root
        self._lock: int | None = None
        sweep(root)

    def lend(self, command: Command, name: str) -> tuple[Command, Path | None]:
        """The command with real paths, and the folder that goes with its process; None without files."""
        if not command.files:
            return command, None
        self._own_folder()
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        paths = {variable: str(_written(folder, variable, file)) for variable, file in command.files.items()}
        argv = tuple(with_paths(part, paths) for part in command.argv)
        env = {key: with_paths(value, paths) for key, value in command.env.items()}
        return Command(argv, env), folder

    def close(self) -> None:
        """Remove what is left."""
        if self._lock is not None:
            remove(self.folder)
            os.close(self._lock)
            self._lock = None

    def _own_folder(self) -> None:
        """Made under another name, which nobody sweeps, and locked before it has its own."""
        if self._lock is None:
            made = self._root / f".{self.folder.name}"
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(made / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            made.rename(self.folder)


def _written(folder: Path, variable: str, file: SecretFile) -> Path:
    own = folder / variable
    own.mkdir(mode=0o700)
    path = own / file.name
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(file.content)
    return path


def remove(folder: Path) -> None:
    """Remove a folder with everything in it; one that is gone is fine."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(root: Path) -> None:
    """Remove what processes left that did not end by themselves."""
    for folder in root.iterdir() if root.is_dir() else ():
        with suppress(OSError):
            if _is_left(folder):
                remove(folder)


def _is_left(folder: Path) -> bool:
    """Whether nobody holds the folder's lock. Raises `OSError` when somebody does."""
    handle = os.open(folder / LOCK, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(handle)
    return True
