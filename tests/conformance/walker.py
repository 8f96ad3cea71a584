"""The hub as a client of the suite's servers: `python -m tests.conformance.walker URL`, run by the suite.

A person adds the URL as an upstream of a running hub, calls its tool through the hub, and follows the links that they
get, through the authorization server of the scenario, until the call succeeds or nothing leads on.
`WALKER` is JSON: the hub's `port` and `public` address, the person's `email`, `key` and `org`.
"""

import json
import os
import re
import sys
import time
from typing import Any, Final

import httpx

from tests.harness.raw import RpcFailed, ask
from tests.oauth.person import Person, words

TOOL: Final = "test-tool"
TURNS: Final = 5
LISTED_S: Final = 10


def main(url: str) -> int:
    """0 when the tool was called, 1 when the hub had good reason to stop."""
    me = json.loads(os.environ["WALKER"])
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    slug = f"t{time.time_ns() // 1000 % 10**12}"
    with Person(me["port"], me["email"], me["public"]) as person:
        add(person, me["org"], slug, url, context)
        endpoint = f"http://127.0.0.1:{me['port']}/mcp/default/{slug}"
        for _ in range(TURNS):
            link = blocked(endpoint, me["key"])
            if link is None:
                return 0
            if not link or not connect(person, link):
                return 1
    return 1


def add(person: Person, org: str, slug: str, url: str, context: dict[str, Any]) -> None:
    """The form of the admin, filled in."""
    itself = "client_credentials" in os.environ["MCP_CONFORMANCE_SCENARIO"].replace("-", "_")
    fields = {
        "org": org,
        "name": slug,
        "slug": slug,
        "enabled": "on",
        "transport": "auto",
        "url": url,
        "credential_mode": "shared" if itself else "per-user",
        "credential_kind": "oauth",
        "key_header": "Authorization",
        "key_format": "Bearer {key}",
        "oauth_client_id": context.get("client_id", ""),
        "oauth_client_secret": context.get("client_secret", ""),
        "oauth_issuer": context.get("issuer", ""),
        "oauth_private_key": context.get("private_key_pem", ""),
        "oauth_signing_algorithm": context.get("signing_algorithm", "RS256"),
        "oauth_grant_type": "client_credentials" if itself else "authorization_code",
    }
    answer = person.post("/admin/upstreams/upstream/add/", fields)
    assert answer.status_code == httpx.codes.FOUND, words(answer)


def blocked(endpoint: str, key: str) -> str | None:
    """Call the tool: None when it answered, the link that the hub gave, "" when there is none."""
    patience = time.monotonic() + LISTED_S
    while True:
        try:
            result = ask(endpoint, key, "tools/call", {"name": TOOL, "arguments": {}})
        except RpcFailed as failed:
            text, error = str(failed), failed.error.get("data", {}).get("mcphub/error", {})
        else:
            if not result.get("isError"):
                return None
            text, error = json.dumps(result), result.get("_meta", {}).get("mcphub/error", {})
        print(f"{time.monotonic():.1f} {text[:300]}", flush=True)
        if error.get("reason") in ("needs_connection", "needs_scope"):
            return error.get("url") or next(iter(re.findall(r"https?://\S+?/connect/\S+", text)), "")
        if time.monotonic() > patience:
            return ""
        time.sleep(0.3)


def connect(person: Person, link: str) -> bool:
    """Open the link, press the button, go through; whether the hub says that it is connected."""
    page = person.follow(person.press(person.follow(person.get(link))))
    if page.status_code == httpx.codes.CONFLICT:
        page = person.follow(person.press(page))
    print(page.status_code, page.url, words(page)[:400], flush=True)
    return page.status_code == httpx.codes.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
