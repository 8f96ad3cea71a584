"""Answers that come to another process than the call, and after the call's own process was killed."""

import asyncio
import hashlib
import hmac
import json
import secrets
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.approvals.conftest import (
    OTHER,
    OWNER,
    PEOPLE,
    ROLES,
    RULE,
    Place,
    id_of,
    page_of,
    place_in,
    settled,
)
from tests.harness.hub import Hub, servers_file
from tests.harness.mail import MailBox, mail_box
from tests.harness.raw import RpcFailed
from tests.harness.services import PostgreSQL, Redis
from tests.harness.upstreams import sdk_stdio
from tests.harness.waiting import until


class Hooks(BaseHTTPRequestHandler):
    """Takes webhooks, after it has refused the first."""

    taken: list[tuple[dict[str, str], bytes]] = []
    tries = 0

    def do_POST(self) -> None:  # the library's name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).tries += 1
        if self.tries == 1:
            self.send_error(503)
            return
        self.taken.append((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture
def hooks() -> Iterator[str]:
    """The address of such a server."""
    Hooks.taken, Hooks.tries = [], 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hooks)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook"
    server.shutdown()


@pytest.mark.slow
@pytest.mark.requirement("O10")
def test_those_who_approve_are_told_and_a_killed_hub_forgets_nothing(tmp_path: Path, hooks: str) -> None:
    with ExitStack() as stack:
        box = stack.enter_context(mail_box())
        mail = f"smtp://127.0.0.1:{box.port}?from=hub@example.org"
        place = stack.enter_context(place_in(tmp_path, email_url=mail, egress_allow="127.0.0.1"))
        made = place.api("PUT", "approval-settings", webhook_url=hooks).json()
        asked = place.mark("killed")
        id = id_of(page_of(asked))
        until("the mails", lambda: len(_told(box, id)) == 2, 60)
        assert sorted(_told(box, id)) == [OTHER, OWNER]
        until("the webhook, at its second try", lambda: bool(Hooks.taken), 90)
        _check_hook(made["webhook_secret"], id)
        assert all("killed" not in str(mail) for mail in box.mails)
        place.hub.kill()
        place.hub.restart().until_listed("sdk")
        assert place.api("POST", f"approvals/{id}/approve", OTHER, seconds=0).is_success
        place.hub.kill()
        place.hub.restart().until_listed("sdk")
        assert not place.mark("killed", **settled(asked)).get("isError")
        assert place.mark("killed")["resultType"] == "input_required"
        assert place.done().count("killed") == 1


def _told(box: MailBox, id: str) -> list[str]:
    return [str(mail["To"]) for mail in box.mails if f"/org/default/approvals/{id}/" in mail.get_content()]


def _check_hook(secret: str, id: str) -> None:
    """The signature as the receiver computes it (Standard Webhooks), and nothing of the arguments."""
    headers, body = Hooks.taken[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.new(b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    assert b64decode(headers["webhook-signature"].removeprefix("v1,")) == mac
    told = json.loads(body)
    assert told["type"] == "approval.asked"
    assert told["data"]["link"].endswith(f"/org/default/approvals/{id}/")
    assert b"killed" not in body


@pytest.mark.slow
@pytest.mark.requirement("O10")
async def test_an_answer_at_one_process_lets_a_call_at_another_go_on(tmp_path: Path) -> None:
    """PostgreSQL and Redis, two web processes: the call waits at one, its client hears the answer of the other."""
    postgresql, redis = PostgreSQL(), Redis(tmp_path / "redis")
    postgresql.start()
    redis.start()
    settings = {
        "database_url": postgresql.url,
        "redis_url": redis.url,
        "limits": "approval_wait_s=30,page_wait_s=30",
        "encryption_keys": secrets.token_hex(),
        "secret_key": secrets.token_hex(),
        "data_dir": str(tmp_path / "data"),
    }
    marks = tmp_path / "marks"
    try:
        prepared = Hub(tmp_path / "prepared", key=None, **settings)
        prepared.prepare(servers_file(tmp_path / "servers.json", {"sdk": sdk_stdio(marks)}))
        people = PEOPLE.format(ROLES, OTHER).replace(f', "{OTHER}"]', "]")
        keys = {**json.loads(prepared.manage("shell", "--no-imports", "-c", people)), OWNER: prepared.key}
        with (
            Hub(tmp_path / "one", key=prepared.key, **settings) as one,
            Hub(tmp_path / "two", key=prepared.key, **settings) as two,
        ):
            for hub in (one, two):
                hub.serve(wait=False)
            for hub in (one, two):
                until("the hub's readiness", hub.is_ready)
                hub.until_listed("sdk")
            first, second = Place(one, marks, keys), Place(two, marks, keys)
            assert first.api("PUT", "rules/ask", **RULE).is_success
            until("the rule at both", lambda: _asks(first) and _asks(second))
            waits = asyncio.create_task(first.marked("far", capabilities={}))
            held = await _held(second, "far")
            assert second.api("POST", f"approvals/{held['id']}/approve", OTHER, seconds=0).is_success
            assert not (await waits).get("isError")
            asked = second.mark("farther")
            goes_on = asyncio.create_task(first.marked("farther", **settled(asked)))
            assert second.api("POST", f"approvals/{id_of(page_of(asked))}/deny", OTHER, note="no").is_success
            assert "denied this call: no." in (await goes_on)["content"][0]["text"]
            approved = first.mark("race")
            assert second.api("POST", f"approvals/{id_of(page_of(approved))}/approve", OTHER, seconds=0).is_success
            results = await asyncio.gather(*(place.marked("race") for place in [first, second] * 4))
            assert len([each for each in results if each.get("resultType") != "input_required"]) == 1
            assert first.done().count("race") == first.done().count("far") == 1
            assert "farther" not in first.done()
    finally:
        redis.stop()
        postgresql.close()


def _asks(place: Place) -> bool:
    with suppress(RpcFailed):  # the tool is hidden from viewers until the rule is in force
        return place.mark("probe").get("resultType") == "input_required"
    return False


async def _held(place: Place, word: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            found = [each for each in await asyncio.to_thread(place.waiting) if each["arguments"].get("word") == word]
            if found:
                return found[0]
            await asyncio.sleep(0.1)
