"""The long proofs at a length for every day, as far as they are no rows of the fault matrix (`tests/faults`)."""

from pathlib import Path

import pytest

from tests.soak import page
from tests.soak.echoes import echoed
from tests.soak.finding import Finding
from tests.soak.mixed import Sample, mb_per_hour, mixed
from tests.soak.rolling import rolled

RESTARTS = 2
ANSWERS = 500
SECONDS = 15


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.requirement("X5", "X6", "F26")
async def test_f26_processes_restarted_in_turn_behind_a_balancer_cause_no_error(tmp_path: Path):
    found = await rolled(tmp_path, RESTARTS)
    assert found.faults == (), found


@pytest.mark.slow
@pytest.mark.requirement("X6")
async def test_equal_ids_of_two_orgs_never_cross(tmp_path: Path):
    found = await echoed(tmp_path, ANSWERS, round_s=2)
    assert found.faults == (), found


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_honest_clients_are_served_beside_faults(tmp_path: Path):
    found = await mixed(tmp_path, SECONDS)
    assert found.faults == (), found


def test_slope_of_memory_is_found_among_outliers():
    level = [Sample(at, 100 + (50 if at % 40 == 0 else 0), 0, 0) for at in range(0, 1200, 2)]
    rising = [Sample(at, 100 + at / 360, 0, 0) for at in range(0, 1200, 2)]
    assert mb_per_hour(level) == pytest.approx(0)
    assert mb_per_hour(rising) == pytest.approx(10, rel=0.05)


def test_page_keeps_one_line_for_each_proof(tmp_path: Path):
    file = tmp_path / "reliability.md"
    page.write("kills-sqlite", Finding("1 kill", "nothing"), 60, file)
    page.write("echoes", Finding("1 echo", "nothing"), 60, file)
    page.write("kills-sqlite", Finding("2 kills", "nothing"), 60, file)
    text = file.read_text()
    assert "1 kill " not in text
    assert text.index("| 1 echo |") < text.index("| 2 kills |")
