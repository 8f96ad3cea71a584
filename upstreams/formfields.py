"""Form fields for lists of texts, one a line, and for pairs whose values are never shown again."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

MASK: Final = "••••••••"


def quoted(text: str) -> str:
    """`text` as one line: as a JSON string where it would not survive as it is."""
    plain = text == text.strip() and text and text.splitlines() == [text] and not text.startswith('"')
    return text if plain else json.dumps(text, ensure_ascii=False)


def unquoted(line: str) -> str:
    """The text that `quoted` made `line` of. Raises `ValidationError` for a broken JSON string."""
    if not line.startswith('"'):
        return line
    try:
        text = json.loads(line)
    except ValueError:
        raise forms.ValidationError(f"{line} begins with a quotation mark but is not a JSON string.") from None
    return str(text)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _textarea(rows: int) -> forms.Widget:
    widget: forms.Widget = UnfoldAdminTextareaWidget(
        attrs={"rows": rows, "spellcheck": "false", "autocomplete": "off"}
    )
    return widget


class LinesField(forms.CharField):
    """A list of texts, one a line."""

    def __init__(self, rows: int = 4, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "widget": _textarea(rows), **kwargs})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(quoted, value)) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> Any:
        return [unquoted(line) for line in _lines(super().clean(value))]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(super().has_changed(self.prepare_value(initial) or "", "\n".join(_lines(data or ""))))


class SecretPairsField(forms.CharField):
    """`NAME=value` or `Name: value` lines. Stored values come masked; a mask that stays keeps the stored value.

    The cleaned value is a mapping of names to texts, or to None where the stored value is to be kept.
    """

    def __init__(self, separator: str, rows: int = 4, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "widget": _textarea(rows), **kwargs})
        self.separator = separator

    def _pair(self, name: str, value: str) -> str:
        return f"{name}: {value}" if self.separator == ":" else f"{name}{self.separator}{value}"

    def masked(self, names: Iterable[str]) -> str:
        """The text that shows which values are stored."""
        return "\n".join(self._pair(name, MASK) for name in names)

    def clean(self, value: Any) -> Any:
        pairs: dict[str, str | None] = {}
        for line in _lines(super().clean(value)):
            name, found, text = line.partition(self.separator)
            name, text = name.strip(), text.strip()
            if not found or not name:
                raise forms.ValidationError(
                    f"Write “{self._pair('Name', 'value')}”, one a line; see “{_start(line)}”."
                )
            if name in pairs:
                raise forms.ValidationError(f"“{name}” stands twice.")
            pairs[name] = None if text == MASK else unquoted(text)
        return pairs


class ShownPairsField(SecretPairsField):
    """`NAME=value` lines whose values may be shown; a mask stands for nothing here."""

    def shown(self, pairs: Mapping[str, str]) -> str:
        """The text that shows them."""
        return "\n".join(self._pair(name, quoted(value)) for name, value in pairs.items())

    def clean(self, value: Any) -> Any:
        pairs = super().clean(value)
        masked = [name for name, text in pairs.items() if text is None]
        if masked:
            raise forms.ValidationError(f"Enter the value of {', '.join(masked)}: what was hidden is not shown.")
        return pairs


def _start(line: str) -> str:
    """Enough of a line to find it, and not a secret in it."""
    return line[:6] + "…" if len(line) > 6 else line


def with_stored(pairs: Mapping[str, str | None], stored: Mapping[str, str]) -> dict[str, str]:
    """The pairs with kept values put in. Raises `ValidationError` for a mask that stands for nothing."""
    missing = [name for name, value in pairs.items() if value is None and name not in stored]
    if missing:
        raise forms.ValidationError(f"Give a value for {', '.join(missing)}: none is stored.")
    return {name: stored[name] if value is None else value for name, value in pairs.items()}
