"""Which texts in plain configuration are taken for keys, and what becomes of them."""

import pytest

from upstreams.detecting import PROVIDERS, keys_in, secret_argument
from upstreams.pastedkeys import Plain

KEYS = {
    "GitHub token": "ghp_" + "aB3d" * 9,
    "GitLab token": "glpat-aB3dEf6hIj9kLmN1pQrS",
    "Anthropic key": "sk-ant-api03-aB3dEf6hIj9kLmN1pQrS",
    "OpenRouter key": "sk-or-v1-" + "0a1b2c3d" * 8,
    "Stripe key": "sk_live_aB3dEf6hIj9kLmN1",
    "Stripe webhook secret": "whsec_aB3dEf6hIj9kLmN1pQrSt2Vw",
    "OpenAI key": "sk-proj-aB3dEf6hIj9kLmN1pQrS_tU",
    "Slack token": "xoxb-123456789012-aB3dEf6hIj9k",
    "Slack app token": "xapp-1-A0B1C2D3E4-1234567890",
    "AWS access key": "AKIAIOSFODNN7EXAMPLE",
    "Google API key": "AIza" + "aB3dE" * 7,
    "Google OAuth token": "ya29.aB3dEf6hIj9kLmN1pQrSt",
    "Google OAuth secret": "GOCSPX-aB3dEf6hIj9kLmN1pQrS",
    "Hugging Face token": "hf_" + "aBcDe" * 7,
    "npm token": "npm_" + "aB3d" * 9,
    "PyPI token": "pypi-" + "AgEIcHlwaS5v" * 5,
    "Linear key": "lin_api_" + "aB3d" * 10,
    "Notion token": "ntn_" + "aB3dE" * 9,
    "Sentry token": "sntrys_" + "aB3d" * 10,
    "Atlassian token": "ATATT3" + "xFfGF0" * 12,
    "Figma token": "figd_" + "aB3d" * 10,
    "Supabase token": "sbp_" + "0a1b2c3d" * 5,
    "DigitalOcean token": "dop_v1_" + "0a1b2c3d" * 8,
    "Shopify token": "shpat_" + "0a1b2c3d" * 4,
    "SendGrid key": "SG." + "aB3dEf6hIj9kLmN1pQrStU" + "." + "aB3dE" * 8 + "xyz",
    "Twilio key": "SK" + "0a1b2c3d" * 4,
    "Telegram bot token": "123456789:AA" + "aB3" * 11,
    "Tavily key": "tvly-dev-aB3dEf6hIj9kLmN1pQrS",
    "Airtable token": "patAbCdEfGhIjKlMn." + "0a1b2c3d" * 8,
    "Databricks token": "dapi" + "0a1b2c3d" * 4,
    "Vault token": "hvs.CAESIaB3dEf6hIj9kLmN1pQrSt",
    "E2B key": "e2b_" + "0a1b2c3d" * 5,
    "key of this hub": "mcph_" + "abcd2345" * 2 + "_" + "abcd2345wxyz7" * 4,
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.aB3dEf6hIj9kLmN1pQ",
    "private key": "-----BEGIN RSA PRIVATE KEY-----MIIEaB3dEf6hIj9kLmN1pQrStU-----END",
}
NO_KEYS = [
    "@modelcontextprotocol/server-filesystem",
    "/home/alice/Documents/Project2024/Backend",
    "https://mcp.example/3f2504e0-4f89-11d3-9a0c-0305e82c3301/mcp",
    "ghcr.io/github/github-mcp-server@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "git+https://github.com/acme/tool@0123456789abcdef0123456789abcdef01234567",
    "--local-timezone=Europe/Berlin",
    "--max-tokens=40960000",
    "--api-key=${API_KEY}",
    "https://mcp.example/mcp?key=${KEY}",
    "mcp-server-google-analytics-admin-v2",
    "--token-file=/run/secrets/token",
    "KEYBOARD_LAYOUT=german-neo2-extended",
]


@pytest.mark.requirement("U8")
@pytest.mark.parametrize("what", [what for what, _, _ in PROVIDERS])
@pytest.mark.parametrize("frame", ["{}", "--token={}", "https://mcp.example/mcp?k={}&b=1"])
def test_key_of_a_provider_is_known_by_its_shape(what: str, frame: str) -> None:
    key = KEYS[what]
    found = keys_in(frame.format(key))
    assert [(each.what, each.text) for each in found] == [(what, key)]
    assert key not in repr(found)
    assert key not in found[0].hint


@pytest.mark.parametrize(
    "text", ["API_KEY=kX9mQ2vLpZ", "https://x.example/?api_key=0123456789abcdef", "x9Kq2LmZ8vBnR4tYpW7cDfGh"]
)
def test_text_that_is_named_so_or_random_is_noticed(text: str) -> None:
    assert len(keys_in(text)) == 1


@pytest.mark.parametrize("text", NO_KEYS)
def test_ordinary_configuration_is_left_alone(text: str) -> None:
    assert keys_in(text) == ()


def test_value_after_an_option_is_judged_by_the_option() -> None:
    found = list(secret_argument(["--api-key", "kX9mQ2vLpZ", "--password-file", "/etc/a", "--name", "kX9mQ2vLpZ"]))
    assert [(at, each.variable) for at, each in found] == [(1, "API_KEY")]


def test_keys_move_into_variables_and_out_of_the_arguments() -> None:
    key, other = KEYS["GitHub token"], KEYS["Slack token"]
    plain = Plain(args=["run", "-e", f"GH_PAT={key}", "image", "--token", key, f"--slack={other}"])
    plain.move()
    assert plain.args == ["run", "-e", "GH_PAT", "image"]
    assert plain.env == {
        "GH_PAT": "${GITHUB_TOKEN}",
        "GITHUB_TOKEN": "${GITHUB_TOKEN}",
        "SLACK_BOT_TOKEN": "${SLACK_BOT_TOKEN}",
    }
    assert plain.secret == {"GITHUB_TOKEN": key, "SLACK_BOT_TOKEN": other}
    assert plain.pasted() == ()


def test_key_in_an_address_becomes_a_reference() -> None:
    plain = Plain(url=f"https://x.example/mcp?key={KEYS['Tavily key']}", secret={"TAVILY_API_KEY": "another"})
    plain.move()
    assert plain.url == "https://x.example/mcp?key=${TAVILY_API_KEY_2}"
    assert plain.secret["TAVILY_API_KEY_2"] == KEYS["Tavily key"]
