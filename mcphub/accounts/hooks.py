"""What accounts asks of, or tells, the apps above it; they register at start (`AppConfig.ready`)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Hook(Generic[P, R]):
    """Functions of one signature that are called in the order in which they registered."""

    def __init__(self) -> None:
        self._functions: list[Callable[P, R]] = []

    def register(self, function: Callable[P, R]) -> Callable[P, R]:
        """Add `function`, once. Usable as a decorator."""
        if function not in self._functions:
            self._functions.append(function)
        return function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> list[R]:
        """Call them all; an exception of one ends the caller's transaction."""
        return [function(*args, **kwargs) for function in self._functions]


role_rights: Final[Hook[[str, frozenset[str]], Iterable[str]]] = Hook()
"""(org id, role names) → rights that the org's own roles carry besides the built-in ones."""

known_roles: Final[Hook[[str], Iterable[str]]] = Hook()
"""(org id) → names of the org's own roles."""

roles_of_claims: Final[Hook[[str, str, Mapping[str, Any]], Iterable[str]]] = Hook()
"""(org id, issuer's name or `people` for those who signed in, claims) → roles by the org's attribute mappings."""

on_org_created: Final[Hook[[str], None]] = Hook()
"""(org id), inside the transaction that makes the org."""

on_service_key_ended: Final[Hook[[str, str], None]] = Hook()
"""(org id, key id), inside the transaction that revokes a key that is nobody's."""

on_membership_ended: Final[Hook[[str, str], None]] = Hook()
"""(org id, user id), inside the transaction that ends the membership."""
