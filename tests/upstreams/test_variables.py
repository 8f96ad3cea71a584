import pytest

from upstreams.variables import UndefinedVariable, fill, mentioned_names, required_names, secrets_in


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


@pytest.mark.parametrize(("name", "value"), [("API_KEY", "x"), ("TOKEN", "x"), ("IT", "ghp_0123456789abcdef")])
def test_secret_is_known_by_its_name_or_its_value(name: str, value: str) -> None:
    assert secrets_in([f"--with=${{{name}}}"], {name: value}) == (name,)
    assert secrets_in([rf"\${{{name}}}"], {name: value}) == ()


@pytest.mark.parametrize(("name", "value"), [("FOLDER", "/srv"), ("TOKEN_FILE", "/run/token"), ("MAX_TOKENS", "5")])
def test_plain_variable_is_no_secret(name: str, value: str) -> None:
    assert secrets_in([f"${{{name}}}"], {name: value}) == ()
