"""Where the program of a stdio upstream is."""

import shutil
import sys
from pathlib import Path


def program(command: str, path: str | None = None) -> str | None:
    """The file that `command` names; None when there is none that may be run.

    Looked for on `path` (by default the hub's own PATH), then beside the hub's Python: `make up` puts `uv` and `uvx`
    there on a machine that has none.
    """
    return shutil.which(command, path=path) or shutil.which(command, path=str(Path(sys.executable).parent))
