"""Reading the text of a CEL condition: what it names, and what it must not contain.

The CEL library compiles and runs conditions but shows no syntax tree, so the bounds of DESIGN §7 are read
off the tokens (cel-spec, langdef.md, "Syntax"). Where tokens and compiler disagree, the condition is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

ROOTS: Final = ("principal", "tool", "arguments", "client")
MAX_CHARS: Final = 2_000
MAX_MACROS: Final = 8
MAX_ADDITIONS: Final = 8

FUNCTIONS: Final = frozenset(
    {
        *("contains", "endsWith", "matches", "size", "startsWith"),
        *("bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"),
        *("getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getMonth"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
TYPES: Final = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"})
_MACROS: Final = frozenset({"all", "exists", "exists_one"})
_COSTLY: Final = frozenset({"map", "filter"})
_LITERALS: Final = frozenset({"true", "false", "null", "in"})

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<string>[bB]?(?:[rR](?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
        |\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^\\"\n])*"|'(?:\\.|[^\\'\n])*'))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|\d*\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+[uU]?)
    |(?P<sign>==|!=|<=|>=|&&|\|\||[-+*/%!<>?:.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)


class BadCondition(ValueError):
    """The condition cannot be saved; `at` is the offset of the offending character, where there is one."""

    def __init__(self, text: str, at: int | None = None) -> None:
        super().__init__(text)
        self.at = at


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Source:
    """What a condition names: free names, the paths it reads of principal and client, its RE2 patterns."""

    names: frozenset[str]
    paths: frozenset[tuple[str, ...]]
    patterns: tuple[Token, ...]
    matches: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class _Scope:
    """The name that a macro binds, and the tokens in which it is bound."""

    name: str
    body: range


def read(text: str) -> Source:
    """Check `text` against the bounds and say what it names. Raises `BadCondition`."""
    if len(text) > MAX_CHARS:
        raise BadCondition(f"longer than {MAX_CHARS} characters", MAX_CHARS)
    tokens = tuple(_tokens(text))
    scopes = _check_macros(tokens)
    if sum(token.text == "+" for token in tokens) > MAX_ADDITIONS:
        raise BadCondition(f"more than {MAX_ADDITIONS} additions")
    matches = tuple(token for i, token in enumerate(tokens) if token.text == "matches" and _is_call(tokens, i))
    return Source(
        names=frozenset(_known_names(tokens, scopes)),
        paths=frozenset(_paths(tokens)),
        patterns=tuple(_pattern_of(tokens, token) for token in matches),
        matches=matches,
    )


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise BadCondition(f"unexpected character {text[at]!r}", at)
        if found.lastgroup != "space":
            yield Token(str(found.lastgroup), found.group(), at)
        at = found.end()


def _text(tokens: tuple[Token, ...], index: int) -> str:
    return tokens[index].text if 0 <= index < len(tokens) else ""


def _is_call(tokens: tuple[Token, ...], index: int) -> bool:
    return tokens[index].kind == "name" and _text(tokens, index + 1) == "("


def _closing(tokens: tuple[Token, ...], opening: int) -> int:
    """The index of the bracket that closes the one at `opening`."""
    depth = 0
    for index in range(opening, len(tokens)):
        sign = tokens[index].text if tokens[index].kind == "sign" else ""
        depth += (sign in ("(", "[", "{")) - (sign in (")", "]", "}"))
        if depth == 0 and sign:
            return index
    raise BadCondition("a bracket is not closed", tokens[opening].at)


def _check_macros(tokens: tuple[Token, ...]) -> list[_Scope]:
    """The names that macros bind, and where. A macro must be linear in what it walks: it sees its own item only."""
    calls = [index for index in range(len(tokens)) if _is_call(tokens, index)]
    for index in calls:
        if (name := tokens[index].text) in _COSTLY:
            raise BadCondition(f"{name}() is not available: use all, exists or exists_one", tokens[index].at)
    macros = [index for index in calls if tokens[index].text in _MACROS]
    if len(macros) > MAX_MACROS:
        raise BadCondition(f"more than {MAX_MACROS} macros", tokens[macros[MAX_MACROS]].at)
    return [_scope(tokens, index) for index in macros]


def _scope(tokens: tuple[Token, ...], macro: int) -> _Scope:
    item = tokens[macro + 2] if macro + 2 < len(tokens) else tokens[macro]
    if item.text in (*ROOTS, *TYPES):
        raise BadCondition(f"{item.text!r} cannot name an item", item.at)
    body = range(macro + 2, _closing(tokens, macro + 1))
    _check_body(tokens, tokens[macro].text, body)
    return _Scope(item.text, body)


def _check_body(tokens: tuple[Token, ...], name: str, body: range) -> None:
    for index in body:
        if _is_call(tokens, index) and tokens[index].text in _MACROS:
            raise BadCondition(f"{tokens[index].text}() inside {name}(): macros cannot be nested", tokens[index].at)
    for index in body:
        if _is_free(tokens, index) and (seen := tokens[index].text) in ("arguments", "client"):
            raise BadCondition(f"{name}() may look at its own item, not at {seen}", tokens[index].at)


def _is_free(tokens: tuple[Token, ...], index: int) -> bool:
    """Whether the token names a variable, not a field, a function or a literal."""
    token = tokens[index]
    if token.kind != "name" or token.text in _LITERALS or _text(tokens, index + 1) == "(":
        return False
    return _text(tokens, index - 1) != "."


def _known_names(tokens: tuple[Token, ...], scopes: list[_Scope]) -> Iterator[str]:
    """The variables that are used, each of which must be bound where it stands."""
    for index, token in enumerate(tokens):
        if not _is_free(tokens, index):
            continue
        bound = any(scope.name == token.text and index in scope.body for scope in scopes)
        if not bound and token.text not in (*ROOTS, *TYPES):
            raise BadCondition(f"unknown name {token.text!r}; there are {', '.join(ROOTS)}", token.at)
        yield token.text


def _paths(tokens: tuple[Token, ...]) -> Iterator[tuple[str, ...]]:
    """`principal.id`, `principal.attributes.team`, `client.name`; shorter where a whole object is read."""
    for index, token in enumerate(tokens):
        if not _is_free(tokens, index) or token.text not in ("principal", "client"):
            continue
        path = [token.text]
        while len(path) < (3 if path[1:2] == ["attributes"] else 2):
            if _text(tokens, index + 1) != "." or _is_call(tokens, index + 2):
                break
            index += 2
            path.append(tokens[index].text)
        yield tuple(path)


def _pattern_of(tokens: tuple[Token, ...], matches: Token) -> Token:
    """The literal given to `matches`: a pattern that arguments could choose is refused."""
    index = tokens.index(matches)
    pattern = tokens[index + 2] if index + 2 < len(tokens) else matches
    if pattern.kind != "string" or _text(tokens, index + 3) != ")" or _text(tokens, index - 1) != ".":
        raise BadCondition("write text.matches('pattern') with the pattern as a literal", matches.at)
    return pattern
