"""Who is let in, and what the others are told."""

import base64
import socket
import time
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Edge, Handshake, call, modern_headers, post, text_of

OK = call("whoami")


async def test_no_credential_is_challenged(client: httpx.AsyncClient) -> None:
    answer = await post(client, OK, authorization="")
    assert answer.status_code == 401
    metadata = f"{client.base_url}/.well-known/oauth-protected-resource/mcp".replace("//.", "/.")
    assert answer.headers["www-authenticate"] == f'Bearer scope="mcp", resource_metadata="{metadata}"'
    assert answer.json()["error"]["code"] == -32600


@pytest.mark.parametrize("value", ["Bearer wrong", "Bearer", "bearer  x y", "Basic !!", "Digest alice-key"])
async def test_bad_credentials_are_401(client: httpx.AsyncClient, value: str) -> None:
    assert (await post(client, OK, authorization=value)).status_code == 401


@pytest.mark.requirement("S3")
async def test_a_key_is_taken_in_three_ways(client: httpx.AsyncClient) -> None:
    basic = "Basic " + base64.b64encode(b"anyone:alice-key").decode()
    ways = [{"authorization": "Bearer alice-key"}, {"authorization": basic}]
    ways.append({"authorization": "", "x_api_key": "alice-key"})
    assert [text_of(await post(client, OK, **way)) for way in ways] == ["Alice"] * 3


async def test_a_key_in_the_query_opens_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.post("/mcp?api_key=alice-key&access_token=alice-key", json=OK)
    assert answer.status_code == 401


async def test_a_header_that_decides_may_not_come_twice(edge: Edge, client: httpx.AsyncClient) -> None:
    headers = [*modern_headers(OK).items(), ("authorization", "Bearer bob-key")]
    answer = await client.post("/mcp", json=OK, headers=headers)
    assert answer.status_code == 400


async def test_guessing_is_slowed_down(client: httpx.AsyncClient) -> None:
    answer = await post(client, OK, key="guess")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


async def test_a_hub_without_its_snapshot_says_503(client: httpx.AsyncClient) -> None:
    answer = await post(client, OK, key="storm")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert answer.json()["error"]["code"] == -31023


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost@evil", "a b"]
)
async def test_f49_wrong_host_is_421(client: httpx.AsyncClient, host: str) -> None:
    assert (await post(client, OK, host=host)).status_code in (400, 421)


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://localhost.evil.example", "file://", "chrome-extension://x", "x"],
)
async def test_f49_wrong_origin_is_403(client: httpx.AsyncClient, origin: str) -> None:
    assert (await post(client, OK, origin=origin)).status_code == 403


async def test_a_page_of_this_machine_may_call_and_read_the_session_id(edge: Edge, client: httpx.AsyncClient) -> None:
    origin = "http://localhost:6274"
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "mcp-name,x-a",
    }
    preflight = await client.options("/mcp", headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == origin
    assert preflight.headers["access-control-allow-headers"] == "mcp-name,x-a"
    answer = await post(client, OK, origin=origin)
    assert answer.headers["access-control-allow-origin"] == origin
    assert "Mcp-Session-Id" in answer.headers["access-control-expose-headers"]


async def test_unknown_paths_and_hidden_orgs_look_alike(client: httpx.AsyncClient) -> None:
    headers = modern_headers(OK)
    hidden = await client.post("/mcp/hidden", json=OK, headers=headers)
    absent = await client.post("/nowhere", json=OK, headers=headers)
    assert hidden.status_code == absent.status_code == 404
    assert hidden.content == absent.content


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/json; charset=utf-16"}, 415),
        ({"accept": "text/html"}, 406),
        ({"accept": "application/json"}, 200),
        ({"accept": "*/*"}, 200),
        ({"accept": "text/event-stream"}, 200),
        ({"content_type": "application/json; charset=UTF-8"}, 200),
    ],
)
async def test_media_types(client: httpx.AsyncClient, changes: dict[str, str], status: int) -> None:
    assert (await post(client, OK, **changes)).status_code == status


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "TRACE"])
async def test_other_methods_are_405(client: httpx.AsyncClient, method: str) -> None:
    assert (await client.request(method, "/mcp", headers=modern_headers(OK))).status_code == 405


BOMBS: list[bytes] = [
    b"",
    b"{",
    b"[" * 5000,
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}',
    b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1e999}}',
    b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":' + b"9" * 5000 + b"}}",
    b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}',
    '{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"),
    b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
    b"3",
    b"null",
    b'"text"',
    b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":null,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":true,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"method":7}',
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
    b'{"jsonrpc":"2.0","id":1}',
    b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
]


@pytest.mark.parametrize("body", BOMBS, ids=range(len(BOMBS)))
@pytest.mark.parametrize("version", ["2026-07-28", "2025-06-18"])
async def test_f47_bombs_are_400(client: httpx.AsyncClient, body: bytes, version: str) -> None:
    headers = modern_headers(OK) | {"mcp-protocol-version": version, "content-type": "application/json"}
    answer = await client.post("/mcp", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in (-32700, -32600)


def raw(edge: Edge, head: str, body: bytes = b"", wait: float = 5) -> tuple[bytes, float]:
    """Send bytes on a socket, read until the other side closes or answers; the answer and its seconds."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", edge.port), timeout=wait) as link:
        link.sendall(f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode() + body)
        return link.recv(65536), time.monotonic() - begun


KEY = "Authorization: Bearer alice-key\r\nContent-Type: application/json\r\n"


def test_f46_a_declared_size_over_the_cap_is_refused_before_it_comes(edge: Edge) -> None:
    answer, took = raw(edge, KEY + "Content-Length: 100001")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert took < 1


def test_f46_a_chunked_body_over_the_cap_is_refused_while_it_comes(edge: Edge) -> None:
    chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    answer, took = raw(edge, KEY + "Transfer-Encoding: chunked", chunk * 26)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert took < 1


def test_f46_a_body_that_never_comes_is_given_up(edge: Edge) -> None:
    answer, took = raw(edge, KEY + "Content-Length: 500", b"{")
    assert answer.startswith(b"HTTP/1.1 408 ") or answer == b""
    assert took < 4


@pytest.mark.parametrize("name", ["boom", "silent"])
async def test_no_traceback_reaches_a_client(client: httpx.AsyncClient, name: str) -> None:
    answer = await post(client, call(name, id_="b"))
    assert answer.status_code == 500
    assert answer.json() == {"jsonrpc": "2.0", "id": "b", "error": {"code": -32603, "message": "Internal error"}}


async def test_the_core_can_refuse_with_503(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    for answer in (await post(client, call("unavailable")), await session.call("unavailable")):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert answer.json()["id"] == 1


async def test_bodies_up_to_the_cap_pass(client: httpx.AsyncClient) -> None:
    arguments: dict[str, Any] = {"text": "x" * 90_000}
    assert text_of(await post(client, call("echo", arguments))) == arguments
