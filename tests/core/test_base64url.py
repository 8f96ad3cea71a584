"""base64url has one text for each value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcphub.core import base64url

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.binary(max_size=40))
def test_what_is_encoded_is_decoded(raw: bytes) -> None:
    assert base64url.decode(base64url.encode(raw)) == raw


@given(st.text(st.sampled_from(ALPHABET + "+/= \n"), max_size=12))
def test_whatever_decodes_is_the_one_text_of_its_value(text: str) -> None:
    try:
        raw = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(raw) == text


@pytest.mark.parametrize("text", ["ZZ9", "AB", "A", "QQ==", "Q+", "é", " QQ"])
def test_second_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        base64url.decode(text)
