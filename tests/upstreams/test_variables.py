import pytest

from upstreams.variables import UndefinedVariable, fill, mentioned_names, required_names


@pytest.mark.requirement("U6")
def test_references_are_filled_in_once() -> None:
    assert fill("${A}/${B}", {"A": "1", "B": "${A}"}) == "1/${A}"


@pytest.mark.requirement("U6")
def test_escaped_reference_stays_as_written() -> None:
    assert fill(r"\${A} $A ${A}", {"A": "1"}) == "${A} $A 1"


def test_default_counts_when_there_is_no_value() -> None:
    assert fill("${A:-x}${B:-}", {}) == "x"
    assert fill("${A:-x}", {"A": "1"}) == "1"


@pytest.mark.requirement("U6")
def test_undefined_variable_is_named() -> None:
    with pytest.raises(UndefinedVariable, match="TOKEN"):
        fill("Bearer ${TOKEN}", {})


def test_names_are_found_in_order_and_once() -> None:
    texts = ["${B} ${A}", r"\${C} ${B} ${D:-x}"]
    assert required_names(texts) == ("B", "A")
    assert mentioned_names(texts) == ("B", "A", "D")
