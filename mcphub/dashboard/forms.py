"""The forms of the dashboard."""

from typing import Final

from django import forms

from policies.approvals.answering import TERMS

KEY_CHARS: Final = 8_000


class AnswerCall(forms.Form):
    """What somebody says to a held call: for how many seconds it is approved (0: once), or that it is denied."""

    DENY = "deny"

    answer = forms.ChoiceField(choices=[*((str(seconds), words) for seconds, words in TERMS.items()), (DENY, "deny")])
    note = forms.CharField(max_length=300, required=False)


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
