"""The risk class of a definition, from its annotations and its words. Pure.

Annotations are the upstream's own claim (MCP 2025-03-26, `ToolAnnotations`): they raise the risk
always and lower it only where the operator trusts the upstream.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NOT_WORD: Final = re.compile(r"[^A-Za-z]+")


class Risk(StrEnum):
    """What a definition may do to the world, from harmless to dangerous."""

    READ = "read"
    WRITE = "write"
    EXTERNAL = "external"
    DESTRUCTIVE = "destructive"
    ADMIN = "admin"


ORDER: Final = {risk: rank for rank, risk in enumerate(Risk)}


def _words(risk: Risk, text: str) -> dict[str, Risk]:
    return dict.fromkeys(text.split(), risk)


# Clear verbs count wherever they stand in a name ("read_and_delete").
ANYWHERE: Final[Mapping[str, Risk]] = {
    **_words(
        Risk.WRITE,
        "append archive assign attach create edit insert modify move patch rename replace save "
        "store submit update upsert write",
    ),
    **_words(Risk.EXTERNAL, "publish send tweet"),
    **_words(
        Risk.DESTRUCTIVE,
        "clear delete destroy drop erase exec execute kill overwrite purge remove reset revert "
        "rollback shutdown terminate truncate uninstall wipe",
    ),
    **_words(Risk.ADMIN, "chmod chown deauthorize grant impersonate revoke sudo"),
}

# Words that are as often a noun ("get_post") count only as the first word that says anything.
LEADING: Final[Mapping[str, Risk]] = {
    **_words(
        Risk.READ,
        "analyze browse calculate check compare compute convert count describe diff echo estimate "
        "explain fetch find format get head help inspect is list load lookup measure parse "
        "peek preview print read resolve retrieve return scan search select show stat status "
        "summarize tail translate validate verify view",
    ),
    **_words(Risk.WRITE, "add build commit copy lock log mark merge open put register schedule set start tag"),
    **_words(
        Risk.EXTERNAL,
        "buy call charge email forward invite mail message notify order pay post purchase share sms transfer",
    ),
    **_words(Risk.DESTRUCTIVE, "cancel close disable eval run shell stop"),
    **_words(Risk.ADMIN, "admin administer authorize"),
}

# A change to one of these is a change of who may do what.
ADMIN_NOUNS: Final = frozenset(["credential", "password", "permission", "policy", "privilege", "role", "secret"])


def risk_of(definition: Mapping[str, Any], kind: str, trusted: bool) -> Risk:
    """The risk class of one definition as its upstream describes it.

    Prompts, resources and templates are read. For a tool it is the more dangerous of annotations
    and words; on a `trusted` upstream the annotations alone decide when they say anything. Nothing
    known means write.
    """
    if kind != "tool":
        return Risk.READ
    annotations = definition.get("annotations")
    claimed = from_annotations(annotations) if isinstance(annotations, Mapping) else None
    if trusted and claimed is not None:
        return claimed
    spoken = from_words(str(definition.get("name", "")), str(definition.get("description") or ""))
    return _worst([spoken or Risk.WRITE, claimed or Risk.READ])


def from_annotations(annotations: Mapping[str, Any]) -> Risk | None:
    """What the behaviour hints claim, or None when they claim nothing that tells classes apart."""
    if annotations.get("readOnlyHint") is True:
        return Risk.READ
    if annotations.get("destructiveHint") is True:
        return Risk.DESTRUCTIVE
    if annotations.get("openWorldHint") is True:
        return Risk.EXTERNAL
    if annotations.get("readOnlyHint") is False:
        return Risk.WRITE
    return None


def from_words(name: str, description: str) -> Risk | None:
    """What the name's words say; when they say nothing, the first word of the description."""
    tokens = _tokens(name)
    return _from_tokens(tokens) or _from_tokens(_tokens(description)[:1])


def _from_tokens(tokens: list[str]) -> Risk | None:
    leading = next(filter(None, (_known(token) for token in tokens)), None)
    found = [risk for token in tokens if (risk := ANYWHERE.get(token)) is not None]
    if leading is not None:
        found.append(leading)
    if not found:
        return None
    worst = _worst(found)
    return Risk.ADMIN if worst is not Risk.READ and not ADMIN_NOUNS.isdisjoint(tokens) else worst


def _known(token: str) -> Risk | None:
    return ANYWHERE.get(token) or LEADING.get(token)


def _tokens(text: str) -> list[str]:
    words = _NOT_WORD.sub(" ", _CAMEL.sub(" ", text)).lower().split()
    return [_stem(word) for word in words]


def _stem(word: str) -> str:
    """The dictionary form where the table has one: "deletes", "fetches", "roles"."""
    known = ANYWHERE.keys() | LEADING.keys() | ADMIN_NOUNS
    return next((form for form in (word, word.removesuffix("s"), word.removesuffix("es")) if form in known), word)


def _worst(risks: Iterable[Risk]) -> Risk:
    return max(risks, key=ORDER.__getitem__)
