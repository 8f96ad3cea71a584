"""Model fields whose column holds AES-256-GCM text: the only place where stored secrets are opened.

A value is bound to its model, field, row and org, so that a copy in another place does not open. The model
needs a UUID primary key made in Python and an org, reached by its `org_path` ("org" when it has none).
Add such a column to an existing table with `null=True` and no default: a default cannot be sealed in SQL.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from django.core import checks
from django.core.exceptions import FieldError
from django.db import models, transaction
from django.db.models.functions import Substr
from django.db.models.query_utils import DeferredAttribute

from mcphub.core.keyring import KEY_ID_BYTES, KeyringError, keyring

PURPOSE: Final = "field"
LABEL: Final = "mcphub.field.v1"
HEAD_CHARS: Final = 6


class Sealed:
    """A stored value that is still closed. It opens through the instance that it belongs to."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"<sealed {self.text[:HEAD_CHARS]}…>"


class SealedAttribute(DeferredAttribute):
    """Opens a sealed value on first access and keeps the plain one on the instance."""

    field: "EncryptedTextField"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        held = instance.__dict__.get(self.field.attname, self)
        if held is self:
            super().__get__(instance, owner)
            held = instance.__dict__[self.field.attname]
        if isinstance(held, Sealed):
            held = instance.__dict__[self.field.attname] = self.field.open(instance, held)
        return held

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]  # generic in the stubs only
    """Secret text. Reading the attribute gives `str`; raises `KeyringError` (`KeyMissing`) when it cannot.

    Look-ups, `update()` and `bulk_update()` on it raise `FieldError`. It takes no part in model forms and
    fixtures: a form that sets it declares a field of its own.
    """

    descriptor_class = SealedAttribute

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "serialize": False})

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("serialize", None)
        return name, path, args, kwargs

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        found = super().check(**kwargs)
        pk = self.model._meta.pk
        if not isinstance(pk, models.UUIDField) or not pk.has_default():
            hint = "Give the model `id = models.UUIDField(primary_key=True, default=new_uuid)`."
            found.append(
                checks.Error("An encrypted field needs a UUID key made in Python.", hint, self, "mcphub.E010")
            )
        return found

    def formfield(self, *args: Any, **kwargs: Any) -> None:
        """No form field by default: the plain value must not reach a page by accident."""

    def get_lookup(self, lookup_name: str) -> NoReturn:
        raise FieldError(f"{self.name} is encrypted and cannot be searched")

    def get_transform(self, name: str) -> NoReturn:
        raise FieldError(f"{self.name} is encrypted and cannot be searched")

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Sealed | None:
        return None if value is None else Sealed(value)

    def to_python(self, value: Any) -> Any:
        return value if value is None or isinstance(value, Sealed) else self.load(self.dump(value))

    def get_prep_value(self, value: Any) -> str | None:
        if isinstance(value, Sealed):
            return value.text
        if value is None and self.null:
            return None
        raise FieldError(f"{self.name} is encrypted: set it on the instance and save() it")

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return value if prepared else self.get_prep_value(value)

    def pre_save(self, model_instance: models.Model, add: bool) -> Sealed | None:
        held = model_instance.__dict__.get(self.attname)
        if isinstance(held, Sealed):
            if add:
                self.open(model_instance, held)
            return held
        return None if held is None and self.null else self.seal(model_instance, held)

    def seal(self, row: models.Model, plain: Any) -> Sealed:
        """`plain` closed under the newest key for this field of `row`."""
        return Sealed(keyring().seal(PURPOSE, self.dump(plain), self._place(row)))

    def open(self, row: models.Model, sealed: Sealed) -> Any:
        """The plain value. Raises `KeyringError`: altered or moved; `KeyMissing`: its key left the ring."""
        return self.load(keyring().open(PURPOSE, sealed.text, self._place(row)))

    def dump(self, value: Any) -> bytes:
        """The bytes to seal. Raises `TypeError` for what the field does not hold."""
        if not isinstance(value, str):
            raise TypeError(f"{self.name} holds text, not {type(value).__name__}")
        return value.encode()

    def load(self, raw: bytes) -> Any:
        """The value of `dump`'s bytes."""
        return raw.decode()

    def _place(self, row: models.Model) -> bytes:
        place = [LABEL, self.model._meta.label_lower, self.name, str(row.pk), org_id_of(row)]
        return json.dumps(place).encode()


class EncryptedJSONField(EncryptedTextField):
    """A secret JSON value; use `default=dict` or `default=list`."""

    def dump(self, value: Any) -> bytes:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()

    def load(self, raw: bytes) -> Any:
        return json.loads(raw)


def org_id_of(row: Any) -> str:
    """The org id (text) that `row` belongs to, by its model's `org_path`."""
    *steps, last = getattr(type(row), "org_path", "org").split("__")
    for step in steps:
        row = getattr(row, step)
    return str(getattr(row, f"{last}_id"))


def encrypted_fields(model: type[models.Model]) -> tuple[EncryptedTextField, ...]:
    """The encrypted fields of `model`."""
    return tuple(item for item in model._meta.concrete_fields if isinstance(item, EncryptedTextField))


def sealed_key_ids(model: type[models.Model]) -> frozenset[str]:
    """Ids of the ring keys that the stored values of `model` need (for the start check and `doctor`)."""
    return frozenset(_key_id(head) for item in encrypted_fields(model) for head in _heads(model, item))


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many rows of a model were closed anew, and the keys (text) of those that did not open."""

    moved: int
    stuck: tuple[str, ...]


def reseal(model: type[models.Model], limit: int = 50) -> Resealed:
    """Close every row again that is not under the newest key, `limit` to a look, in one pass by key.

    Each row is locked, read and written in its own short transaction, so that a concurrent change survives.
    What was written under an older key behind the pass is found by the next one.
    """
    moved, stuck, after = 0, [], None
    while found := _stale_ids(model, after, limit):
        for pk in found:
            try:
                moved += _reseal_row(model, pk)
            except KeyringError:
                stuck.append(str(pk))
        after = found[-1]
    return Resealed(moved, tuple(stuck))


def _reseal_row(model: type[models.Model], pk: Any) -> int:
    rows = model._base_manager
    with transaction.atomic():
        row = rows.select_for_update().filter(pk=pk).first()
        if row is None:
            return 0
        plain = {item: getattr(row, item.attname) for item in encrypted_fields(model)}
        closed = {item.attname: item.seal(row, value) for item, value in plain.items() if value is not None}
        return rows.filter(pk=pk).update(**closed)


def _stale_ids(model: type[models.Model], after: Any, limit: int) -> list[Any]:
    stale = models.Q()
    rows = model._base_manager.order_by("pk")
    for item in encrypted_fields(model):
        head = f"head_{item.attname}"
        rows = rows.annotate(**{head: _head(item)})
        stale |= models.Q(**{f"{head}__isnull": False}) & ~models.Q(**{f"{head}__in": _newest_heads()})
    if after is not None:
        rows = rows.filter(pk__gt=after)
    return list(rows.filter(stale).values_list("pk", flat=True)[:limit])


def _newest_heads() -> list[str]:
    """Every beginning that a value under the newest key can have: the last character holds bits of its nonce."""
    key_id = bytes.fromhex(keyring().newest)
    texts = (base64.urlsafe_b64encode(key_id + bytes((nonce << 4,))).decode() for nonce in range(16))
    return [text[:HEAD_CHARS] for text in texts]


def _heads(model: type[models.Model], item: EncryptedTextField) -> Iterator[str]:
    found = model._base_manager.annotate(head=_head(item)).order_by().values_list("head", flat=True).distinct()
    return (head for head in found if head)


def _head(item: EncryptedTextField) -> Substr:
    return Substr(models.F(item.attname), 1, HEAD_CHARS, output_field=models.CharField())


def _key_id(head: str) -> str:
    return base64.urlsafe_b64decode(head + "AA")[:KEY_ID_BYTES].hex()
