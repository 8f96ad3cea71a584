"""The papers say what the code does."""

import dataclasses
import re
from pathlib import Path
from typing import Final

import pytest
from pydantic_core import PydanticUndefined

from mcphub.core.env import HubSettings
from mcphub.core.limits import Limits

ROOT: Final = Path(__file__).parents[1]
README: Final = (ROOT / "README.md").read_text()
SECURITY: Final = (ROOT / "SECURITY.md").read_text()
LIMITS: Final = re.findall(r"^\| `(\w+)` \| (.*?) \|", (ROOT / "docs" / "limits.md").read_text(), re.MULTILINE)
UNITS: Final = {"KiB": 1024, "MiB": 1024 * 1024, "s": 1, "": 1}
ROWS: Final = re.findall(r"^\| `MCPHUB_(\w+)` \|(.*?)\|", README, re.MULTILINE)
DEFAULTS: Final = {name.lower(): default.strip() for name, default in ROWS}


@pytest.mark.requirement("X13")
def test_settings_table_names_every_setting_once_in_order():
    assert [name.lower() for name, _ in ROWS] == list(HubSettings.model_fields)


@pytest.mark.requirement("X13")
@pytest.mark.parametrize("name", HubSettings.model_fields)
def test_settings_table_gives_the_default(name: str):
    default = HubSettings.model_fields[name].default
    shown = re.fullmatch(r"`(.*)`", DEFAULTS[name])
    if shown is not None:
        assert shown.group(1) == str(default).replace("False", "false")
    else:
        assert default in ("", (), None, PydanticUndefined)


def test_every_proof_that_security_names_exists():
    proofs = set(re.findall(r"`(tests/[\w/]+\.py)`", SECURITY))
    assert proofs
    assert sorted(path for path in proofs if not (ROOT / path).is_file()) == []


def test_there_are_fewer_than_forty_settings():
    assert len(HubSettings.model_fields) < 40


@pytest.mark.requirement("X13")
def test_table_of_limits_names_every_limit_once_in_order_with_its_default():
    shown = {name: _number(default) for name, default in LIMITS}
    assert list(shown.items()) == [(field.name, field.default) for field in dataclasses.fields(Limits)]


def _number(shown: str) -> float:
    number, _, unit = shown.partition(" ")
    return float(number.replace(",", "")) * UNITS[unit]
