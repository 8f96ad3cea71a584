"""Programs of stdio upstreams: from PATH, or from where the hub's own are."""

import sys
from pathlib import Path

import pytest

from upstreams.programs import program


@pytest.mark.requirement("R5")
def test_path_comes_first_and_the_hubs_own_folder_second(tmp_path: Path) -> None:
    beside = Path(sys.executable).parent / "mcphub"
    assert program("mcphub", str(tmp_path)) == str(beside)
    earlier = tmp_path / "mcphub"
    earlier.touch(mode=0o755)
    assert program("mcphub", str(tmp_path)) == str(earlier)
    assert program("no-such-command", str(tmp_path)) is None
