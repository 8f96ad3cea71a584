import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from mcphub.accounts.models import Org
from upstreams.models import Upstream
from upstreams.selectors import due

MakeUpstream = Callable[..., Upstream]


def run(*args: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def servers(tmp_path: Path) -> Path:
    path = tmp_path / "servers.json"
    path.write_text(
        json.dumps({"mcpServers": {"time": {"url": "http://127.0.0.1:9/mcp"}, "b_1": {"command": "true"}}})
    )
    return path


@pytest.mark.requirement("U9")
def test_import_is_repeatable(org: Org, servers: Path) -> None:
    first = json.loads(run("import_servers", str(servers), "--org", "acme", "--json"))
    assert first["imported"] == ["time", "b-1"]
    assert Upstream.objects.get(slug="time").egress_allow == ["127.0.0.1:9"]
    again = json.loads(run("import_servers", str(servers), "--org", "acme", "--json"))
    assert (again["imported"], again["present"]) == ([], ["time", "b-1"])


@pytest.mark.requirement("U9")
def test_dry_run_changes_nothing(org: Org, servers: Path) -> None:
    assert "would import time as time" in run("import_servers", str(servers), "--org", "acme", "--dry-run")
    assert not Upstream.objects.exists()


@pytest.mark.parametrize(
    ("text", "args", "code"),
    [
        ('{"mcpServers": {"a": {}}}', ["--org", "acme"], 1),
        ("{", ["--org", "acme"], 1),
        ("{}", ["--org", "nobody"], 2),
        (None, ["--org", "acme"], 2),
    ],
)
@pytest.mark.requirement("X18")
def test_import_that_cannot_be_done_says_why_with_its_code(
    org: Org, tmp_path: Path, text: str | None, args: list[str], code: int
) -> None:
    path = tmp_path / "servers.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CommandError) as caught:
        run("import_servers", str(path), *args)
    assert caught.value.returncode == code
    assert str(caught.value)


@pytest.mark.requirement("U13")
def test_refresh_asks_for_one_or_for_all_that_are_on(org: Org, make_upstream: MakeUpstream) -> None:
    one, other = make_upstream("a1"), make_upstream("b1")
    make_upstream("off", enabled=False)
    run("refresh_catalogue", "a1")
    assert set(due().refresh) == {str(one.pk)}
    assert json.loads(run("refresh_catalogue", "--json"))["asked"] == ["acme/a1", "acme/b1"]
    assert set(due().refresh) == {str(one.pk), str(other.pk)}


@pytest.mark.requirement("X18")
def test_refresh_of_an_unknown_upstream_fails(org: Org) -> None:
    with pytest.raises(CommandError) as caught:
        run("refresh_catalogue", "nobody")
    assert caught.value.returncode == 3
