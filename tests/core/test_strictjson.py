"""JSON of clients: what two readers could take for two things is refused."""

import pytest

from mcphub.core.strictjson import BadJson, loads


@pytest.mark.parametrize("text", [rb'"\ud800"', rb'{"\uDFFF": 1}', rb'["\ude00\ud83d"]', rb'{"a": {"b": "x\ud83d"}}'])
def test_half_a_character_is_refused(text: bytes) -> None:
    with pytest.raises(BadJson, match="surrogate"):
        loads(text)


def test_whole_characters_pass_escaped_or_not() -> None:
    assert loads(rb'["\ud83d\ude00", "\\ud800"]') == ["😀", "\\ud800"]
    assert loads('"😀"'.encode()) == "😀"
