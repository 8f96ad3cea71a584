import hmac
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from mcphub.core import tokens
from mcphub.core.keyring import Keyring

OLD, NEW = "the-older-ring-key-of-the-tests", "the-newer-ring-key-of-the-tests"


@pytest.fixture(autouse=True)
def ring(monkeypatch: pytest.MonkeyPatch):
    def use(*secrets: str) -> None:
        made = Keyring(secrets)
        monkeypatch.setattr(tokens, "keyring", lambda: made)

    use(OLD)
    return use


@pytest.mark.requirement("S3")
def test_a_minted_key_is_found_by_its_id_and_matches_only_itself() -> None:
    key, other = tokens.mint(), tokens.mint()
    assert key.plain.startswith("mcph_")
    assert tokens.public_ids_of(key.plain) == (key.public_id,)
    assert tokens.matches(key.plain, key.digest, key.digest_key_id)
    assert not tokens.matches(other.plain, key.digest, key.digest_key_id)
    assert not tokens.matches(key.plain[:-1] + "a", key.digest, key.digest_key_id) or key.plain.endswith("a")


def test_what_is_stored_does_not_contain_the_secret() -> None:
    key = tokens.mint()
    secret = key.plain.rsplit("_", 1)[1]
    assert secret not in key.digest + key.public_id
    assert secret not in repr(key)
    assert len(key.public_id) <= 24
    assert len(key.digest) == 64


def test_a_literal_is_found_after_the_ring_turned(ring) -> None:
    literal = tokens.for_literal("correct horse battery staple")
    assert literal.plain not in literal.public_id + literal.digest
    ring(NEW, OLD)
    assert literal.public_id in tokens.public_ids_of("correct horse battery staple")
    assert literal.public_id not in tokens.public_ids_of("correct horse battery stapl")
    assert tokens.matches("correct horse battery staple", literal.digest, literal.digest_key_id)
    assert tokens.needs_rehash(literal.digest_key_id)
    moved = tokens.hashed("correct horse battery staple")
    ring(NEW)
    assert moved.public_id in tokens.public_ids_of("correct horse battery staple")
    assert tokens.matches("correct horse battery staple", moved.digest, moved.digest_key_id)
    assert not tokens.needs_rehash(moved.digest_key_id)


def test_a_key_whose_ring_key_is_gone_does_not_match(ring) -> None:
    key = tokens.mint()
    ring(NEW)
    assert not tokens.matches(key.plain, key.digest, key.digest_key_id)


def test_a_minted_key_of_elsewhere_can_be_given_as_a_literal(ring) -> None:
    ring(NEW)
    elsewhere = tokens.mint().plain
    ring(OLD)
    here = tokens.for_literal(elsewhere)
    assert tokens.public_ids_of(elsewhere) == (here.public_id,)
    assert tokens.matches(elsewhere, here.digest, here.digest_key_id)


@pytest.mark.parametrize("text", ["", "mcph_", "mcph__", "mcph_x_y", "\ud800", "é" * 500, "a\x00b"])
def test_any_text_can_be_presented(text: str) -> None:
    key = tokens.mint()
    assert key.public_id not in tokens.public_ids_of(text)
    assert not tokens.matches(text, key.digest, key.digest_key_id)


@pytest.mark.requirement("S3")
@pytest.mark.parametrize("make", [lambda: tokens.mint().plain, lambda: "a-literal-of-the-operator" * 2])
def test_where_a_guess_differs_is_seen_by_no_comparison_that_ends_early(
    make: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F50: what is compared are keyed hashes, whole and in constant time, wherever the texts differ."""
    real = make()
    known = tokens.hashed(real)
    compared: list[tuple[int, int]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(tokens, "hmac", SimpleNamespace(compare_digest=compare))
    for at in range(len(real)):
        guess = real[:at] + ("b" if real[at] == "a" else "a") + real[at + 1 :]
        assert not tokens.matches(guess, known.digest, known.digest_key_id)
    assert tokens.matches(real, known.digest, known.digest_key_id)
    assert compared == [(64, 64)] * (len(real) + 1)
