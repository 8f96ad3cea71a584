"""Log lines: one shape, no secrets."""

import json
import subprocess
import sys

import pytest

from mcphub.core import logs

SCRIPT = """
import logging, structlog
from mcphub.core.logs import configure
configure({"format": %r, "level": %r})
structlog.get_logger("gateway.edge").info("answered", authorization="Bearer abcdefgh12345", size=3)
logging.getLogger("other").warning("calling https://user:hunter2@host/ with Bearer %%s", "abcdefgh12345")
logging.getLogger("quiet.one").debug("fine detail")
try:
    raise ValueError("mcph_aaaaaaaaaaaaaaaa_bbbbbbbbbbbbbbbb")
except ValueError:
    structlog.get_logger("gateway").exception("broke")
"""


def written(form: str, level: str) -> str:
    done = subprocess.run([sys.executable, "-c", SCRIPT % (form, level)], capture_output=True, text=True, check=True)
    return done.stderr


@pytest.mark.requirement("X4")
@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_masked_wherever_they_stand(form: str) -> None:
    text = written(form, "INFO")
    assert "answered" in text
    assert "broke" in text
    assert not [secret for secret in ("abcdefgh12345", "hunter2", "bbbbbbbb") if secret in text]


FORGED = """
import logging, structlog
from mcphub.core.logs import configure
configure({"format": %r, "level": "INFO"})
evil = "x" + chr(10) + "2026-01-01T00:00:00.000000Z [info     ] forged" + chr(27) + "[2J" + chr(0x2028)
logging.getLogger("one").warning("path %%s", evil)
structlog.get_logger("two").info("named", name=evil)
"""


@pytest.mark.requirement("X4")
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_value_ends_its_line_or_steers_a_terminal(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", FORGED % form], capture_output=True, text=True, check=True)
    assert len(done.stderr.splitlines()) == 2 or form == "json"
    assert done.stderr.count("\n") == 2
    assert "\x1b" not in done.stderr


@pytest.mark.requirement("X4")
def test_json_lines_say_when_who_and_what() -> None:
    first, *others = map(json.loads, written("json", "INFO").splitlines())
    assert first["event"] == "answered"
    assert (first["logger"], first["level"], first["size"]) == ("gateway.edge", "info", 3)
    assert first["timestamp"].endswith("Z")
    assert all("fine detail" not in line["event"] for line in others)


@pytest.mark.requirement("X4")
def test_levels_by_module() -> None:
    assert "fine detail" in written("text", "ERROR,quiet=DEBUG")
    assert "answered" not in written("text", "ERROR,quiet=DEBUG")


@pytest.mark.parametrize("text", ["LOUD", "INFO,gateway=LOUD", "gateway="])
def test_unknown_levels_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a log level"):
        logs.levels(text)
