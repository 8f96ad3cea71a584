from typing import Any

import pytest

from upstreams.risk import Risk, risk_of


def risk(name: str, annotations: dict[str, Any] | None = None, description: str = "", trusted: bool = False) -> Risk:
    return risk_of({"name": name, "annotations": annotations, "description": description}, "tool", trusted)


@pytest.mark.requirement("O4")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("get_current_time", Risk.READ),
        ("convert_time", Risk.READ),
        ("read_graph", Risk.READ),
        ("search_nodes", Risk.READ),
        ("listIssues", Risk.READ),
        ("get_post", Risk.READ),
        ("create_entities", Risk.WRITE),
        ("add_observations", Risk.WRITE),
        ("read_or_update", Risk.WRITE),
        ("frobnicate", Risk.WRITE),
        ("send_email", Risk.EXTERNAL),
        ("post_message", Risk.EXTERNAL),
        ("delete_entities", Risk.DESTRUCTIVE),
        ("deleteFile", Risk.DESTRUCTIVE),
        ("read_and_delete", Risk.DESTRUCTIVE),
        ("execute_sql", Risk.DESTRUCTIVE),
        ("grant_access", Risk.ADMIN),
        ("set_user_permissions", Risk.ADMIN),
        ("list_roles", Risk.READ),
    ],
)
def test_words_of_the_name_tell_the_class(name: str, expected: Risk) -> None:
    assert risk(name) is expected


@pytest.mark.requirement("O4")
def test_silent_name_is_read_from_the_first_word_of_the_description() -> None:
    assert risk("weather", description="Returns the forecast.") is Risk.READ
    assert risk("weather", description="A tool that deletes things") is Risk.WRITE


@pytest.mark.requirement("O4")
def test_annotations_raise_the_class_of_any_upstream() -> None:
    assert risk("get_time", {"destructiveHint": True}) is Risk.DESTRUCTIVE
    assert risk("get_time", {"openWorldHint": True, "readOnlyHint": False}) is Risk.EXTERNAL


@pytest.mark.requirement("O4")
def test_annotations_lower_the_class_on_trusted_upstreams_only() -> None:
    harmless = {"readOnlyHint": True}
    assert risk("delete_all", harmless) is Risk.DESTRUCTIVE
    assert risk("frobnicate", harmless) is Risk.WRITE
    assert risk("delete_all", harmless, trusted=True) is Risk.READ


def test_trusted_upstream_without_annotations_is_judged_by_words() -> None:
    assert risk("delete_all", {"title": "x"}, trusted=True) is Risk.DESTRUCTIVE


@pytest.mark.parametrize("annotations", ["no", 3, [], {"readOnlyHint": "yes"}, {"destructiveHint": 1}])
def test_malformed_annotations_say_nothing(annotations: Any) -> None:
    assert risk_of({"name": "delete_all", "annotations": annotations}, "tool", True) is Risk.DESTRUCTIVE


@pytest.mark.parametrize("kind", ["prompt", "resource", "template"])
def test_what_is_not_a_tool_is_read(kind: str) -> None:
    assert risk_of({"name": "delete_all"}, kind, False) is Risk.READ
