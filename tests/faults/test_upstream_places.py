"""Where a call goes and where it must not: the rows F01, F13 to F15, F17 and F18."""

import itertools
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Any, Final

import pytest

from tests.faults.baseline import Baseline, WatchedHub
from tests.faults.certificates import Authority
from tests.faults.evils import LIMITS, Evils, behind_a_proxy
from tests.faults.faultproxy import DeadEnd, Silence
from tests.faults.test_upstream_faults import METADATA, SLACK_S, expect, unharmed
from tests.faults.truth import Truth
from tests.harness.browser import Browser
from tests.harness.hub import servers_file
from tests.harness.raw import ERAS, Era, RpcFailed, raw_client

CONNECT_S: Final = 5
SHIFTY: Final = "shifty.example"
KINDS: Final = ("old", "new", "stream", "shifty", "secure")


@dataclass(frozen=True, slots=True)
class Places:
    """Five evil upstreams: one behind a name whose address a test may change, one behind TLS."""

    evils: Evils
    authority: Authority
    folder: Path


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder, authority = tmp_path_factory.mktemp("places"), Authority()
    (folder / "authority.pem").write_bytes(authority.pem)
    truths = {kind: Truth(folder / f"{kind}.truth") for kind in KINDS}
    with ExitStack() as running:
        proxies = {kind: running.enter_context(behind_a_proxy(folder, kind, truths[kind])) for kind in KINDS}
        proxies["secure"].speak(authority.server(folder, "localhost"))
        urls = {kind: f"http://127.0.0.1:{proxies[kind].port}/mcp" for kind in ("old", "new")}
        urls["stream"] = f"http://127.0.0.1:{proxies['stream'].port}/sse"
        urls["shifty"] = f"http://{SHIFTY}:{proxies['shifty'].port}/mcp"
        urls["secure"] = f"https://localhost:{proxies['secure'].port}/mcp"
        config = servers_file(folder / "servers.json", {kind: {"url": url} for kind, url in urls.items()})
        hub = running.enter_context(WatchedHub(folder / "hub", limits=LIMITS))
        hub.environment["SSL_CERT_FILE"] = str(folder / "authority.pem")
        hub.resolve(shifty_example="127.0.0.1")
        hub.up("--config", str(config)).until_listed(*KINDS)
        yield Places(Evils(hub, truths, proxies), authority, folder)


# --- F01 ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("U18", "U19")
@pytest.mark.parametrize("kind", ["old", "new", "stream"])
@pytest.mark.parametrize("era", ERAS)
async def test_f01_refused_connection_was_not_sent_and_is_found_again(places: Places, kind: str, era: Era):
    evils = places.evils
    with unharmed(evils, kind), evils.proxies[kind].gone():
        for _ in range(3):
            told = await evils.tell(kind, era, do="echo", text="hello")
            expect(told, "unreachable", "not_sent")
            assert told.took_s <= CONNECT_S + SLACK_S
            assert evils.history(kind, told).arrived == 0


@pytest.mark.parametrize("kind", ["old", "new", "stream"])
async def test_f01_connection_that_is_never_answered_is_given_up(places: Places, kind: str):
    evils = places.evils
    with unharmed(evils, kind):
        with evils.proxies[kind].gone(), DeadEnd(evils.proxies[kind].port):
            told = await evils.tell(kind, "modern", do="echo", text="hello")
        assert told.error is not None
        assert (told.error["reason"], told.error["outcome"]) in {("unreachable", "not_sent"), ("timeout", "not_sent")}
        assert told.error["retryable"]
        assert told.took_s <= CONNECT_S + SLACK_S
        assert evils.history(kind, told).arrived == 0


# --- F13 ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("U21")
@pytest.mark.parametrize("kind", ["old", "new", "stream"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_f13_redirect_to_another_place_is_never_followed(places: Places, kind: str, status: int):
    evils = places.evils
    with Silence() as elsewhere, unharmed(evils, kind):
        for location, era in itertools.product((f"http://127.0.0.1:{elsewhere.port}/mcp", METADATA), ERAS):
            told = await evils.tell(kind, era, do="status", status=status, headers={"Location": location})
            expect(told, "egress_blocked", "not_sent")
            assert told.took_s <= SLACK_S
            history = evils.history(kind, told)
            assert (history.arrived, history.ran) == (1, 0)
        assert elsewhere.visitors() == 0


# --- F14 ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("U21")
@pytest.mark.parametrize("era", ERAS)
async def test_f14_name_that_moves_to_a_forbidden_address_gets_no_packet(places: Places, era: Era):
    evils = places.evils
    evils.until_well("shifty")
    baseline = Baseline(evils.hub)
    evils.hub.resolve(shifty_example="169.254.169.254")
    refused: list[Any] = []

    async def moved() -> bool:
        told = await evils.tell("shifty", era, do="echo", text="hello")
        refused[:] = [told] if told.error is not None else []
        return bool(refused)

    for _ in range(50):
        if await moved():
            break
    evils.hub.resolve(shifty_example="127.0.0.1")
    told = refused[0]
    expect(told, "egress_blocked", "not_sent")
    assert told.took_s <= SLACK_S
    assert evils.history("shifty", told).arrived == 0
    evils.until_well("shifty")
    baseline.expect_return()


# --- F15 ---------------------------------------------------------------------------------------------

BAD_TLS: Final[Mapping[str, Callable[[Places], SSLContext | None]]] = {
    "expired": lambda places: places.authority.server(places.folder, "localhost", -5, -2),
    "other-host": lambda places: places.authority.server(places.folder, "example.org"),
    "unknown-authority": lambda places: Authority().server(places.folder, "localhost"),
    "no-tls": lambda _: None,
}


@pytest.mark.requirement("U21")
@pytest.mark.parametrize("bad", BAD_TLS)
async def test_f15_bad_tls_is_named_and_nothing_was_sent(places: Places, bad: str):
    evils = places.evils
    with unharmed(evils, "secure"):
        for era in ERAS:
            evils.until_well("secure")
            evils.proxies["secure"].speak(BAD_TLS[bad](places))
            told = await evils.tell("secure", era, do="echo", text="hello")
            evils.proxies["secure"].speak(places.authority.server(places.folder, "localhost"))
            expect(told, "tls", "not_sent")
            assert told.took_s <= CONNECT_S + SLACK_S
            assert evils.history("secure", told).arrived == 0


# --- F17, F18 ----------------------------------------------------------------------------------------


@pytest.fixture
def operator(places: Places) -> Iterator[Browser]:
    with Browser(places.evils.hub.url) as browser:
        browser.sign_in("operator@example.org")
        yield browser


def approve_all(operator: Browser) -> None:
    """Let in every changed definition that waits."""
    waiting = "/admin/upstreams/definitionversion/?state=held"
    ids = re.findall(r'name="_selected_action" value="([^"]+)"', operator.get(waiting))
    operator.submit(waiting, "changelist-form", action="approve", _selected_action=ids)


@pytest.mark.requirement("P9", "U13", "O11")
@pytest.mark.parametrize("kind", ["old", "new", "stream"])
async def test_f17_definition_that_changes_in_mid_session_is_held_until_approved(
    places: Places, operator: Browser, kind: str
):
    evils, name = places.evils, f"{kind}__act"
    with unharmed(evils, kind):
        for era in ERAS:
            text = f"Now different, says {era}."
            async with raw_client(evils.hub.mcp_url, evils.hub.key, era) as client:

                async def described() -> str | None:
                    tools = (await client.request("tools/list", {}))["tools"]
                    return next((tool["description"] for tool in tools if tool["name"] == name), None)

                await client.call(name, do="change", text=text)
                await until(described, None)
                with pytest.raises(RpcFailed, match="Unknown tool"):
                    await client.call(name, do="echo", text="held")
                approve_all(operator)
                await until(described, text)


async def until(described: Callable[[], Awaitable[str | None]], wanted: str | None) -> None:
    for _ in range(200):
        if await described() == wanted:
            return
    raise AssertionError(f"the description did not become {wanted!r}")


@pytest.mark.requirement("N1", "N2")
async def test_f18_like_names_are_told_apart_and_reach_their_own_upstream(places: Places):
    evils = places.evils
    for kind, era in itertools.product(("old", "new", "stream"), ERAS):
        evils.until_well(kind)
        told = await evils.tell(kind, era, do="echo", text=kind)
        assert told.text == kind
        assert evils.history(kind, told).ran == 1
        others = [truth for name, truth in evils.truths.items() if name != kind]
        assert not any(told.nonce in truth.arrived() for truth in others)


@pytest.mark.requirement("N2", "U9")
def test_f18_servers_of_like_names_get_slugs_of_their_own(places: Places):
    servers = {"My Files": {"command": "sh"}, "my-files": {"command": "sh"}, "old": {"command": "sh"}}
    file = servers_file(places.folder / "like.json", servers)
    planned = places.evils.hub.manage("import_servers", str(file), "--dry-run")
    assert all(slug in planned for slug in ("my-files", "my-files-2", "old-2")), planned
