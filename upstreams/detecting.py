"""Keys of well-known providers, and texts that look like keys, in configuration that is stored as it is written.

The shapes come from the providers' documents; what fits none of them counts when it is long and random, or
stands after a name that says what it is.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from audit.redaction import Redactor
from upstreams.variables import PLACES

PROVIDERS: Final[Sequence[tuple[str, str, str]]] = (
    ("GitHub token", "GITHUB_TOKEN", r"(?:gh[opusr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})"),
    ("GitLab token", "GITLAB_TOKEN", r"gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_.-]{20,200}"),
    ("Anthropic key", "ANTHROPIC_API_KEY", r"sk-ant-[A-Za-z0-9_-]{20,200}"),
    ("OpenRouter key", "OPENROUTER_API_KEY", r"sk-or-v1-[a-f0-9]{40,80}"),
    ("Stripe key", "STRIPE_API_KEY", r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,250}"),
    ("Stripe webhook secret", "STRIPE_WEBHOOK_SECRET", r"whsec_[A-Za-z0-9+/=]{24,100}"),
    ("OpenAI key", "OPENAI_API_KEY", r"sk-(?:proj-|svcacct-|admin-|None-)?[A-Za-z0-9_-]{20,250}"),
    ("Slack token", "SLACK_BOT_TOKEN", r"xox[abeprs](?:\.xox[a-z])?-[A-Za-z0-9-]{10,250}"),
    ("Slack app token", "SLACK_APP_TOKEN", r"xapp-\d-[A-Za-z0-9-]{10,250}"),
    ("AWS access key", "AWS_ACCESS_KEY_ID", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
    ("Google API key", "GOOGLE_API_KEY", r"AIza[A-Za-z0-9_-]{35}"),
    ("Google OAuth token", "GOOGLE_ACCESS_TOKEN", r"ya29\.[A-Za-z0-9_-]{20,500}"),
    ("Google OAuth secret", "GOOGLE_CLIENT_SECRET", r"GOCSPX-[A-Za-z0-9_-]{20,60}"),
    ("Hugging Face token", "HF_TOKEN", r"hf_[A-Za-z0-9]{30,60}"),
    ("npm token", "NPM_TOKEN", r"npm_[A-Za-z0-9]{36}"),
    ("PyPI token", "PYPI_TOKEN", r"pypi-[A-Za-z0-9_-]{50,300}"),
    ("Linear key", "LINEAR_API_KEY", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,80}"),
    ("Notion token", "NOTION_TOKEN", r"(?:ntn_[A-Za-z0-9]{40,60}|secret_[A-Za-z0-9]{43})"),
    ("Sentry token", "SENTRY_AUTH_TOKEN", r"sntry[su]_[A-Za-z0-9_+/=-]{32,300}"),
    ("Atlassian token", "ATLASSIAN_API_TOKEN", r"ATATT3[A-Za-z0-9_=-]{60,300}"),
    ("Figma token", "FIGMA_API_KEY", r"figd_[A-Za-z0-9_-]{30,60}"),
    ("Supabase token", "SUPABASE_ACCESS_TOKEN", r"sbp_[a-f0-9]{40}"),
    ("DigitalOcean token", "DIGITALOCEAN_TOKEN", r"do[opr]_v1_[a-f0-9]{64}"),
    ("Shopify token", "SHOPIFY_ACCESS_TOKEN", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    ("SendGrid key", "SENDGRID_API_KEY", r"SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}"),
    ("Twilio key", "TWILIO_API_KEY", r"SK[0-9a-f]{32}"),
    ("Telegram bot token", "TELEGRAM_BOT_TOKEN", r"\d{8,10}:AA[A-Za-z0-9_-]{33}"),
    ("Tavily key", "TAVILY_API_KEY", r"tvly-[A-Za-z0-9-]{20,60}"),
    ("Airtable token", "AIRTABLE_API_KEY", r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}"),
    ("Databricks token", "DATABRICKS_TOKEN", r"dapi[a-f0-9]{32}(?:-\d)?"),
    ("Vault token", "VAULT_TOKEN", r"hvs\.[A-Za-z0-9_-]{24,200}"),
    ("E2B key", "E2B_API_KEY", r"e2b_[a-f0-9]{40}"),
    ("key of this hub", "MCP_HUB_KEY", r"mcph_[a-z2-7]{16}_[a-z2-7]{52}"),
    ("JSON web token", "ACCESS_TOKEN", r"eyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{16,1000}"),
    ("private key", "PRIVATE_KEY", r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]{20,20000}-----END"),
)
"""What it is, the variable that its programs usually take it from, and its shape."""

_SHAPES: Final = tuple(
    (what, variable, re.compile(rf"(?<![A-Za-z0-9_]){shape}(?![A-Za-z0-9])")) for what, variable, shape in PROVIDERS
)
_NAMED: Final = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_.-]{1,60})[=:]\s?(?!//)(?P<value>[^\s&;,\"']{8,500})")
_RANDOM: Final = re.compile(r"(?<![A-Za-z0-9_$@:-])[A-Za-z0-9_-]{24,250}(?![A-Za-z0-9_-])")
_WORDY: Final = re.compile(r"[A-Za-z]{7,}")
_ID: Final = re.compile(r"\A[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_NAMES: Final = Redactor()

NAMED_BITS: Final = 2.8
RANDOM_BITS: Final = 3.9
"""Of entropy a character: words of English have less than 3, random text of 24 letters and digits more than 4."""


@dataclass(frozen=True, slots=True)
class Pasted:
    """A key in a text: what it is, a name for a variable that could hold it, and the key itself."""

    what: str
    variable: str
    text: str = field(repr=False)

    @property
    def hint(self) -> str:
        """Enough of it to find it, and not the key."""
        return f"{self.text[:6]}…"


def keys_in(text: str) -> tuple[Pasted, ...]:
    """The keys in `text`, in order of the tables, none of them twice or inside another."""
    found: list[Pasted] = []
    for pasted in (*_of_providers(text), *_after_names(text), *_random(text)):
        if not any(pasted.text in other.text or other.text in pasted.text for other in found):
            found.append(pasted)
    return tuple(found)


def _of_providers(text: str) -> Iterator[Pasted]:
    for what, variable, shape in _SHAPES:
        yield from (Pasted(what, variable, match[0]) for match in shape.finditer(text))


def _after_names(text: str) -> Iterator[Pasted]:
    for match in _NAMED.finditer(text):
        name, value = match["name"], match["value"]
        if _is_secret(name, value):
            yield Pasted("secret", variable_name(name), value)


def _is_secret(name: str, value: str) -> bool:
    """Whether the name says so, and the value may be one: no reference, no path, no plain word."""
    is_place = name.lower().endswith(PLACES) or value.startswith(("/", "./", "../", "~"))
    return not is_place and "${" not in value and _NAMES.is_secret(name, value) and _bits(value) >= NAMED_BITS


def _random(text: str) -> Iterator[Pasted]:
    for match in _RANDOM.finditer(text):
        word = match[0]
        mixed = re.search(r"\d", word) and re.search(r"[a-z]", word) and re.search(r"[A-Z]", word)
        if mixed and not _WORDY.search(word) and not _ID.match(word) and _bits(word) >= RANDOM_BITS:
            yield Pasted("random text, perhaps a key,", "API_KEY", word)


def secret_argument(args: Sequence[str]) -> Iterator[tuple[int, Pasted]]:
    """Values of options whose names say that they are secrets (`--api-key VALUE`), each with its place."""
    for number, (option, value) in enumerate(pairwise(args), start=1):
        name = option.lstrip("-")
        plain = option.startswith("-") and not value.startswith("-") and "=" not in option
        if plain and len(value) >= 8 and _is_secret(name, value):
            yield number, Pasted("secret", variable_name(name), value)


def variable_name(name: str) -> str:
    """A name as variables of the environment are written."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^A-Za-z0-9]+", "_", split).strip("_").upper() or "API_KEY"


def _bits(text: str) -> float:
    """Shannon entropy, bits a character."""
    count: Mapping[str, int] = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in count.values())
