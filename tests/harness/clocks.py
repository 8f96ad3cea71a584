"""A hub whose clock the test sets, with Debian's `faketime`; the monotonic clock goes on as it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

LIBRARIES: Final = Path("/usr/lib")


class Clock:
    """The wall clock of the processes that are started with `environment`."""

    def __init__(self, file: Path) -> None:
        self._file: Final = file
        self.set(0)

    def set(self, seconds: float) -> None:
        """So far ahead of the true time, or behind it, from now on."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+.0f}\n")
        fresh.replace(self._file)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs. Skips the test when the library is not installed."""
        library = next(LIBRARIES.glob("*/faketime/libfaketimeMT.so.1"), None)
        if library is None:
            pytest.skip("faketime is not installed")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }
