"""Hubs for the end-to-end tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.hub import Hub, servers_file
from tests.harness.upstreams import everything_http, everything_stdio, memory_stdio, sdk_stdio, time_stdio


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub that is not started yet."""
    with Hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def small_hub(hub: Hub, tmp_path: Path) -> Hub:
    """A running hub with the SDK's server over stdio as `sdk`; its marks are in `tmp_path/marks`."""
    config = servers_file(tmp_path / "servers.json", {"sdk": sdk_stdio(tmp_path / "marks")})
    return hub.up("--config", str(config)).until_listed("sdk")


@pytest.fixture(scope="module")
def full_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A running hub with every real upstream of the project: time, everything (twice), memory and the SDK's."""
    folder = tmp_path_factory.mktemp("full")
    with everything_http(folder) as url, Hub(folder / "hub") as hub:
        servers = {
            "time": time_stdio(),
            "everything": everything_stdio(),
            "remote": {"url": url},
            "memory": memory_stdio(folder / "memory.jsonl"),
            "sdk": sdk_stdio(folder / "marks"),
        }
        yield hub.up("--config", str(servers_file(folder / "servers.json", servers))).until_listed(*servers)


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The same for all tests of a module, none of which ends it."""
    folder = tmp_path_factory.mktemp("shared")
    with Hub(folder / "hub") as hub:
        config = servers_file(folder / "servers.json", {"sdk": sdk_stdio(folder / "marks")})
        yield hub.up("--config", str(config)).until_listed("sdk")


@pytest.fixture(scope="module")
def viewer_key(shared_hub: Hub) -> str:
    """A key named `viewer` with the viewer's role."""
    made = shared_hub.manage_json("create_key", "viewer", "--org", "default", "--role", "viewer")
    return str(made["key"])
