"""The forms of the dashboard."""

from typing import Final

from django import forms

KEY_CHARS: Final = 8_000


class PasteKey(forms.Form):
    """An API key, which goes in and never comes out."""

    key = forms.CharField(
        max_length=KEY_CHARS,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}, render_value=False),
    )
    account = forms.CharField(max_length=200, required=False)
    take_over = forms.BooleanField(required=False)

    def clean_key(self) -> str:
        key: str = self.cleaned_data["key"].strip()
        if not key.isascii() or not key.isprintable():
            raise forms.ValidationError("A key is made of plain characters, without line breaks.")
        return key
