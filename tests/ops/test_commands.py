"""The commands as a script runs them, in processes of their own: sentences and exit codes, never a traceback."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.harness.hub import MANAGE, ROOT


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands keep a database with all tables and an org."""
    folder = tmp_path_factory.mktemp("commands")
    assert run(folder, "migrate", "--verbosity", "0")[0] == 0
    assert run(folder, "create_org", "default")[0] == 0
    return folder


def run(folder: Path, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "MCPHUB_DATA_DIR": str(folder / "data")}
    done = subprocess.run([*MANAGE, *words], env=environment, cwd=folder, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


NEEDING_TABLES = {
    "create_org": ("acme",),
    "create_user": ("ann@example.org",),
    "create_key": ("ci", "--role", "viewer"),
    "revoke_key": ("ci",),
    "import_servers": (str(ROOT / "pyproject.toml"),),
    "refresh_catalogue": (),
    "explain": ("--principal", "ci", "--tool", "x"),
    "verify_audit": (),
    "export_audit": (),
    "prune_audit": (),
}


@pytest.mark.requirement("X18")
@pytest.mark.parametrize("command", NEEDING_TABLES)
def test_command_before_migrate_says_what_to_run(tmp_path: Path, command: str) -> None:
    code, _, words = run(tmp_path, command, *NEEDING_TABLES[command])
    assert code == 1
    assert "Run: migrate" in words
    assert "Traceback" not in words


@pytest.mark.requirement("X18")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("create_key", "k", "--role", "viewer", "--expires-days", "nan"), 2),
        (("create_key", "k", "--role", "viewer", "--expires-days", "1e12"), 2),
        (("create_key", "k", "--role", "viewer", "--expires-days=-3"), 2),
        (("prune_audit", "--days=-5"), 2),
        (("prune_audit", "--days", "99999999"), 2),
        (("prune_audit", "--org", "default"), 2),
        (("export_audit", "--output", "/nowhere/at/all"), 1),
        (("verify_audit", "--heads", "/nowhere/at/all"), 2),
    ],
)
def test_what_a_command_cannot_do_is_a_sentence_and_changes_nothing(
    home: Path, words: tuple[str, ...], expected: int
) -> None:
    code, _, said = run(home, *words)
    assert code == expected
    assert "Traceback" not in said
    assert json.loads(run(home, "verify_audit", "--json")[1])["pruned"] == 0


@pytest.mark.requirement("X18", "T5")
def test_person_who_is_there_becomes_hub_admin_once(home: Path) -> None:
    asked = ("create_user", "op@example.org", "--if-absent", "--json")
    assert json.loads(run(home, *asked)[1])["created"] is True
    for _ in range(2):
        assert json.loads(run(home, *asked, "--hub-admin")[1])["created"] is False
    acts = [json.loads(line) for line in run(home, "export_audit", "--kind", "act")[1].splitlines()]
    assert [act["method"] for act in acts if act["name"] == "op@example.org"] == ["user.create", "user.change"]


@pytest.mark.requirement("X18", "A5")
def test_export_says_what_it_wrote_and_outlives_a_reader_that_leaves(home: Path) -> None:
    path = home / "audit.ndjson"
    code, said, _ = run(home, "export_audit", "--output", str(path), "--json")
    assert code == 0
    assert json.loads(said) == {"file": str(path), "bytes": path.stat().st_size}
    environment = {"PATH": os.environ["PATH"], "MCPHUB_DATA_DIR": str(home / "data")}
    left = f"{' '.join(MANAGE)} export_audit | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", left], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("0\n", "")
