"""CEL conditions: compiled once, evaluated within bounds, and silent about the values they saw."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import cel
import re2

from mcphub.core.limits import Limits
from policies.cel_source import FUNCTIONS, BadCondition, Source, Token, read
from policies.types import CallRequest

# Failing pattern functions are reported to the caller; the library would also log each one, arguments included.
logging.getLogger("cel").setLevel(logging.CRITICAL)

_MATCHES: Final = "re2_matches"
_PATTERN_MEMORY: Final = 1024 * 1024
_INTEGERS: Final = range(-(2**63), 2**64)
_WHY: Final[tuple[tuple[type[Exception], str], ...]] = (
    (KeyError, "a field is absent"),
    (IndexError, "an item is absent"),
    (TypeError, "a value has the wrong type"),
    (ArithmeticError, "a number cannot be computed"),
    (ValueError, "a value cannot be read"),
    (RuntimeError, "a function cannot be applied to a value"),
)
_EXPECTED: Final = tuple(family for family, _ in _WHY)


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A compiled condition. `paths` are what it reads of principal and client."""

    source: str
    program: cel.Program = field(repr=False)
    reads_arguments: bool
    reads_client: bool
    paths: frozenset[tuple[str, ...]]
    patterns: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """A condition that could not be evaluated; it counts against the caller (DESIGN §7)."""

    why: str


@lru_cache(maxsize=16_384)
def compile_condition(source: str) -> Condition:
    """Compile and check. Raises `BadCondition` with a sentence and the place."""
    found = read(source)
    program = _compile(source)
    for name in program.functions():
        if name[:1].isalpha() and name not in FUNCTIONS:
            raise BadCondition(f"unknown function {name!r}", max(source.find(name), 0))
    if set(program.variables()) != found.names:
        raise BadCondition("this form of naming a value is not supported")
    patterns = {value: _pattern(value, token) for token in found.patterns for value in (_literal(token),)}
    return Condition(
        source=source,
        program=_compile(_with_re2(source, found)) if patterns else program,
        reads_arguments="arguments" in found.names,
        reads_client="client" in found.names,
        paths=found.paths,
        patterns=patterns,
    )


def _compile(source: str) -> cel.Program:
    try:
        return cel.compile(source)
    except ValueError as error:
        raise BadCondition(_first_fault(str(error))) from None


def _first_fault(text: str) -> str:
    """The compiler's first message, without the source that it repeats."""
    _, _, rest = text.partition("ERROR: <input>:")
    line = (rest or text).splitlines()[0]
    return f"line {line}" if rest else line


def _literal(token: Token) -> str:
    value = cel.evaluate(token.text)
    if not isinstance(value, str):
        raise BadCondition("a pattern is text, not bytes", token.at)
    return value


def _pattern(value: str, token: Token) -> Any:
    options = re2.Options()
    options.max_mem = _PATTERN_MEMORY
    options.log_errors = False
    try:
        return re2.compile(value, options)
    except re2.error as error:
        fault = error.args[0]
        text = fault.decode(errors="replace") if isinstance(fault, bytes) else str(fault)
        raise BadCondition(f"pattern: {text}", token.at) from None


def _with_re2(source: str, found: Source) -> str:
    """The same source with `matches` calling our own function: RE2 patterns are compiled once, not per item."""
    for token in reversed(found.matches):
        source = source[: token.at] + _MATCHES + source[token.at + len(token.text) :]
    return source


class Evaluation:
    """The conditions of one caller: values are converted once, on first use. Not for several threads."""

    __slots__ = ("_arguments", "_client", "_context", "_limits", "_patterns", "_request", "_target")

    def __init__(self, request: CallRequest, limits: Limits) -> None:
        self._request = request
        self._limits = limits
        self._patterns: dict[str, Any] = {}
        self._context: Any = None
        self._target: Any = None
        self._arguments: Failure | bool = False
        self._client: Failure | bool = False

    def holds(self, condition: Condition, request: CallRequest | None = None) -> bool | Failure:
        """Whether `condition` is true. `request` may differ from the first one in its target only."""
        try:
            context = self._prepared(request or self._request)
            if (fault := self._provide(context, condition)) is not None:
                return fault
            result = condition.program.execute(context)
        except _EXPECTED as error:
            return Failure(next(why for family, why in _WHY if isinstance(error, family)))
        return result if isinstance(result, bool) else Failure("the result is not true or false")

    def _prepared(self, request: CallRequest) -> Any:
        if self._context is None:
            self._context = cel.Context()
            self._context.add_variable("principal", dict(request.principal))
        if self._target is not request.target:
            target = self._target = request.target
            facts = {"kind": target.kind, "upstream": target.upstream, "name": target.name, "risk": str(target.risk)}
            self._context.add_variable("tool", facts)
        return self._context

    def _provide(self, context: Any, condition: Condition) -> Failure | None:
        """Convert what only some conditions read, at most once and within the limits."""
        if condition.patterns:
            if not self._patterns:
                context.add_function(_MATCHES, self._matches)
            self._patterns.update(condition.patterns)
        if condition.reads_client:
            if self._client is False:
                self._client = self._add(context, "client", self._request.client)
            if isinstance(self._client, Failure):
                return self._client
        if condition.reads_arguments:
            if self._arguments is False:
                given = self._request.arguments
                self._arguments = self._add(context, "arguments", given() if given is not None else {})
            if isinstance(self._arguments, Failure):
                return self._arguments
        return None

    def _add(self, context: Any, name: str, value: Mapping[str, Any]) -> Failure | bool:
        if not within(value, self._limits.condition_nodes, self._limits.condition_bytes):
            return Failure(f"{name}: larger than conditions may read")
        try:
            context.add_variable(name, dict(value))
        except _EXPECTED:
            return Failure(f"{name}: a value that conditions cannot read")
        return True

    def _matches(self, text: Any, pattern: str) -> bool:
        if not isinstance(text, str):
            raise TypeError("matches() needs text")
        return self._patterns[pattern].search(text) is not None


def within(value: Any, nodes: int, size: int) -> bool:
    """Whether a JSON value has at most `nodes` values and `size` bytes of text, and only exact integers.

    Stops at the first excess, so that a hostile value costs no more than an allowed one.
    """
    waiting = [value]
    seen = 0
    while waiting:
        item = waiting.pop()
        seen += 1
        if isinstance(item, str):
            size -= _bytes_of(item, size)
        elif isinstance(item, Mapping):
            if seen + len(waiting) + len(item) > nodes:
                return False
            size -= sum(_bytes_of(key, size) for key in item)
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)):
            if seen + len(waiting) + len(item) > nodes:
                return False
            waiting.extend(item)
        elif isinstance(item, int) and not isinstance(item, bool) and item not in _INTEGERS:
            return False
        if size < 0 or seen > nodes:
            return False
    return True


def _bytes_of(text: str, enough: int) -> int:
    """The length in UTF-8, or of the characters when that is already too much."""
    if text.isascii() or len(text) > enough:
        return len(text)
    return len(text.encode("utf-8", "surrogatepass"))


def read_paths(paths: frozenset[tuple[str, ...]], request: CallRequest) -> str:
    """What `paths` lead to in this request, as text that is equal when and only when the values are."""
    roots = {"principal": request.principal, "client": request.client}
    return json.dumps([_follow(roots, path) for path in sorted(paths)], sort_keys=True, default=_plain)


def _follow(value: Any, path: tuple[str, ...]) -> list[Any]:
    for step in path:
        if not isinstance(value, Mapping) or step not in value:
            return []
        value = value[step]
    return [value]


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
