"""Shapes that all of the REST API shares: texts, pages by key, the one error."""

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from ninja import Field, Schema
from pydantic import AfterValidator, ConfigDict

from mcphub.accounts.rest import ApiFault
from mcphub.core import base64url

MOST: Final = 200
T = TypeVar("T")
M = TypeVar("M", bound=Model)


def _storable(text: str) -> str:
    if any(ord(char) < 32 or 0xD800 <= ord(char) < 0xE000 for char in text):
        raise ValueError("must not contain control characters or halves of characters")
    return text


Text = Annotated[str, Field(max_length=500), AfterValidator(_storable)]
"""Text of one line that every database stores."""

Name = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(_storable)]
"""The name of something, as in a path."""


class Body(Schema):
    """What is sent: unknown fields are refused, for a misspelt one would be a change that is not made."""

    model_config = ConfigDict(extra="forbid")


class FieldFault(Schema):
    field: str
    message: str


class ErrorBody(Schema):
    code: str = Field(description="Stable, for programs.")
    message: str = Field(description="One sentence, for people.")
    fields: list[FieldFault] = []


class ErrorOut(Schema):
    """Every answer that is not a success looks so."""

    error: ErrorBody


class Page(Schema, Generic[T]):
    """One page. `next` is given back as `after` to get the one behind it; null on the last."""

    items: list[T]
    next: str | None = None


class Paging(Schema):
    """Which page."""

    limit: int = Field(50, ge=1, le=MOST)
    after: str = Field("", max_length=2_000, description="The `next` of the page before.")


def page(rows: "QuerySet[M]", paging: Paging, key: Sequence[str], shown: Callable[[M], Any]) -> dict[str, Any]:
    """The rows behind `paging.after`, in the order of `key` (fields that together are unique). Raises `ApiFault`."""
    found = rows.order_by(*key)
    if paging.after:
        found = _behind(found, key, paging.after)
    some = list(found[: paging.limit + 1])
    items, more = some[: paging.limit], len(some) > paging.limit
    return {"items": [shown(row) for row in items], "next": _cursor(items[-1], key) if more else None}


def _behind(rows: "QuerySet[M]", key: Sequence[str], after: str) -> "QuerySet[M]":
    values = _opened(after)
    condition = Q()
    if len(values) != len(key):
        raise _bad()
    for place, name in enumerate(key):
        same = dict(zip(key[:place], values[:place], strict=True))
        condition |= Q(**same, **{f"{name}__gt": values[place]})
    try:
        return rows.filter(condition)
    except (ValidationError, ValueError, TypeError):
        raise _bad() from None


def _cursor(row: Model, key: Sequence[str]) -> str:
    values = []
    for name in key:
        value: Any = row
        for step in name.split("__"):
            value = getattr(value, step)
        values.append(value if isinstance(value, int) else str(value))
    return base64url.encode(json.dumps(values).encode())


def _opened(cursor: str) -> list[str | int]:
    try:
        values = json.loads(base64url.decode(cursor))
        good = isinstance(values, list) and all(type(value) in (str, int) for value in values)
        texts = [_storable(value) for value in values if isinstance(value, str)] if good else None
    except (ValueError, RecursionError):
        raise _bad() from None
    if texts is None or any(isinstance(value, int) and abs(value) >= 2**31 for value in values):
        raise _bad()
    return list(values)


def _bad() -> ApiFault:
    return ApiFault(422, "invalid", "`after` is not the `next` of a page.", {"after": "not a cursor of this list"})
