"""What is read off the text of a condition: names, paths and patterns; and the words and places of every refusal."""

import pytest

from policies.cel_source import BadCondition, Source, read
from policies.conditions import compile_condition


def names(source: Source) -> set[str]:
    return set(source.names)


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("true || false || null == null", set()),
        ("arguments.tool == tool.name", {"arguments", "tool"}),
        ("size(arguments.s) > 1 // client", {"arguments"}),
        ("'client' in arguments", {"arguments"}),
        ("type(arguments.n) == int", {"arguments", "int"}),
        ("arguments.a.all(x, x > 1)", {"arguments", "x"}),
        ("principal.roles.exists(r, r == 'a') && tool.risk == 'read'", {"principal", "r", "tool"}),
        ("arguments.a.exists(x, [x, {'k': (x)}] == []) && client.name == ''", {"arguments", "x", "client"}),
        ("arguments.a.exists_one(x, x == ')') || tool.name == '('", {"arguments", "x", "tool"}),
    ],
)
def test_the_names_that_a_condition_uses(condition: str, found: set[str]) -> None:
    assert names(read(condition)) == found
    compile_condition(condition)


@pytest.mark.parametrize(
    ("condition", "paths"),
    [
        ("arguments.principal == tool.client", set()),
        ("principal == principal", {("principal",)}),
        ("client.name == 'a'", {("client", "name")}),
        ("client.capabilities.roots.listChanged", {("client", "capabilities")}),
        ("principal.roles[0].size() == 1", {("principal", "roles")}),
        ("principal.attributes == {}", {("principal", "attributes")}),
        ("principal.attributes.team == 'a'", {("principal", "attributes", "team")}),
        ("principal.attributes.team.lead == 'a'", {("principal", "attributes", "team")}),
        ("principal.attributes['team'] == 'a'", {("principal", "attributes")}),
        ("principal.attributes.size() == 1", {("principal", "attributes")}),
        ("principal.size() == 1", {("principal",)}),
        ("client.attributes.x.y == 1", {("client", "attributes", "x")}),
        ("principal.id == client.attributes", {("principal", "id"), ("client", "attributes")}),
        ("true && principal.id == 'a' || client.name == 'b'", {("principal", "id"), ("client", "name")}),
        ("principal.label.contains(principal.id)", {("principal", "label"), ("principal", "id")}),
    ],
)
def test_the_paths_of_principal_and_client_that_it_reads(condition: str, paths: set[tuple[str, ...]]) -> None:
    assert read(condition).paths == paths


def test_patterns_and_where_their_function_stands() -> None:
    condition = "tool.name.matches('a') && size('matches') == 7 && arguments.s.matches(r'b(')"
    source = read(condition)
    assert [token.text for token in source.patterns] == ["'a'", "r'b('"]
    assert [token.at for token in source.matches] == [10, condition.rindex("matches")]
    assert {token.text for token in source.matches} == {"matches"}
    assert read("arguments.matches == 1").matches == ()


ALL = "arguments.a.all(x, x == 1)"
LITERAL = "write text.matches('pattern') with the pattern as a literal"


@pytest.mark.parametrize(
    ("condition", "fault", "at"),
    [
        ("x" * 2_001, "longer than 2000 characters", 2_000),
        ("true && `a`", "unexpected character '`'", 8),
        ("'a", 'unexpected character "\'"', 0),
        ("1" + " + 1" * 9, "more than 8 additions", None),
        ("true && arguments.a.map(x, x)", "map() is not available: use all, exists or exists_one", 20),
        ("arguments.a.filter(x, x)", "filter() is not available: use all, exists or exists_one", 12),
        (" && ".join([ALL] * 9), "more than 8 macros", 8 * len(ALL + " && ") + 12),
        ("arguments.a.all(tool, tool)", "'tool' cannot name an item", 16),
        ("arguments.a.exists_one(int, int == 1)", "'int' cannot name an item", 23),
        ("true && arguments.a.all(x, x", "a bracket is not closed", 23),
        ("arguments.a.all(", "a bracket is not closed", 15),
        ("arguments.a.all(x, [x)", "a bracket is not closed", 15),
        ("arguments.a.all(x, {x)", "a bracket is not closed", 15),
        ("a.all(x, x.exists(y, y))", "exists() inside all(): macros cannot be nested", 11),
        ("a.exists(x, x in arguments)", "exists() may look at its own item, not at arguments", 17),
        ("a.all(x, x == client)", "all() may look at its own item, not at client", 14),
        ("1 == who", "unknown name 'who'; there are principal, tool, arguments, client", 5),
        ("tool.name.matches(tool.kind)", LITERAL, 10),
        ("tool.name.matches('a', 'b')", LITERAL, 10),
        ("tool.name.matches('a'", LITERAL, 10),
        ("tool.name.matches(", LITERAL, 10),
        ("tool.name == matches('a')", LITERAL, 13),
    ],
)
def test_refusals_say_what_and_where(condition: str, fault: str, at: int | None) -> None:
    with pytest.raises(BadCondition) as caught:
        read(condition)
    assert (str(caught.value), caught.value.at) == (fault, at)


@pytest.mark.parametrize("condition", ["1" + " + 1" * 8, " && ".join([ALL] * 8), "x" * 0 + "true" + " " * 1_996])
def test_what_just_fits_is_read(condition: str) -> None:
    read(condition)


@pytest.mark.parametrize(
    "condition",
    [
        "arguments.a.all(x, x.b['k'] == {'k': [(1)]}['k'][0]) && tool.name == 'x'",
        "arguments.all == 1 && arguments.a.all(x, x == 1)",
        "arguments.a.all(x, x.map == 1 && x.exists == 2)",
        "arguments.a.all(x, x.arguments == x.client)",
        r"""tool.name == '''it's''' || tool.name == "a\"b" || tool.name == r'\'""",
        "arguments.n in [0x1F, 1u, .5, 1e3, 1.5e-3] ? true : false",
    ],
)
def test_conditions_that_only_look_forbidden(condition: str) -> None:
    compile_condition(condition)


@pytest.mark.parametrize(
    ("condition", "fault", "at"),
    [
        ("tool.name.matches('(')", "pattern: missing ): (", 18),
        ("true && tool.name.matches('é(')", "pattern: missing ): é(", 26),
        ("true && tool.name.matches(b'a')", "a pattern is text, not bytes", 26),
        ("true && now() == 1", "unknown function 'now'", 8),
        (".tool.name == 'a'", "this form of naming a value is not supported", None),
    ],
)
def test_refusals_of_the_compiled_condition(condition: str, fault: str, at: int | None) -> None:
    with pytest.raises(BadCondition) as caught:
        compile_condition(condition)
    assert (str(caught.value), caught.value.at) == (fault, at)


def test_the_compilers_first_fault_is_told_with_its_line_and_without_the_source() -> None:
    with pytest.raises(BadCondition, match=r"^line 1:") as caught:
        compile_condition("arguments.n ==")
    assert "arguments.n" not in str(caught.value)
    assert "\n" not in str(caught.value)
