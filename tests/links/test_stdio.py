"""stdio upstreams, run as real processes: good ones, and ones with bad habits."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from prometheus_client import REGISTRY

from tests.harness.upstreams import asking_stdio
from tests.links.conftest import TIME, Listening, MemoryBook, spec, tool
from upstreams import errors
from upstreams.connections import Connections
from upstreams.types import ClientFacts, UpstreamSpec

ODD = Path(__file__).with_name("odd_stdio.py")


def odd(habit: str = "", **facts: Any) -> UpstreamSpec:
    defaults: dict[str, Any] = {"transport": "stdio", "command": sys.executable, "args": (str(ODD), habit)}
    return spec(**(defaults | {"era": "handshake"} | facts))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while alive(pid):
            await asyncio.sleep(0.02)


async def quiet(hub: Connections, book: MemoryBook, upstream: UpstreamSpec) -> None:
    """Start it, and wait until the hub has no more questions of its own."""
    hub.set_specs([upstream])
    await book.until(lambda: upstream.id in book.listings)


async def call(hub: Connections, upstream: UpstreamSpec, do: str, **facts: Any) -> dict[str, Any]:
    answer = await hub.call(upstream, tool(do, **facts))
    assert answer.error is None
    return dict(json.loads(answer.result))


@pytest.mark.requirement("U3")
async def test_time_server_is_discovered_and_called(hub: Connections, book: MemoryBook) -> None:
    time = spec(**TIME)
    hub.set_specs([time])
    await book.until(lambda: "u1" in book.listings)
    assert {each["name"] for each in book.listings["u1"]["tool"]} == {"get_current_time", "convert_time"}

    answer = await hub.call(time, tool("get_current_time", {"timezone": "UTC"}))

    content = json.loads(answer.result)["content"]
    assert json.loads(content[0]["text"])["timezone"] == "UTC"
    assert book.reports["u1"].state == "up"


@pytest.mark.requirement("U3")
async def test_concurrent_calls_share_one_process(hub: Connections) -> None:
    answers = await asyncio.gather(*(call(hub, odd(), "echo", arguments={"n": n}) for n in range(50)))
    assert [answer["n"] for answer in answers] == list(range(50))
    assert len({answer["pid"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("habit", "era"),
    [
        ("", "handshake"),
        ("silent-before-initialize", "handshake"),
        ("dies-at-discover", "handshake"),
        ("modern-and-slow", "modern"),
    ],
)
async def test_unknown_era_is_found_out_whatever_the_server_thinks_of_the_question(
    hub: Connections, habit: str, era: str
) -> None:
    answer = await hub.call(odd(habit, era=""), tool("echo"))
    assert answer.era == era


@pytest.mark.requirement("R5")
async def test_failed_start_is_told_with_exit_code_and_stderr(hub: Connections, book: MemoryBook) -> None:
    hub.set_specs([odd("dies-at-start")])
    await book.until(lambda: "u1" in book.reports and book.reports["u1"].state == "down")
    assert "exit code 3" in book.reports["u1"].error
    assert "no configuration found" in book.reports["u1"].stderr_tail


@pytest.mark.requirement("R5")
async def test_every_refusal_of_a_start_says_what_the_process_said(hub: Connections) -> None:
    upstream = odd(command="sh", args=("-c", "echo no configuration >&2; exit 2"), era="")
    for _ in range(6):
        with pytest.raises(errors.Unreachable, match="exit code 2") as caught:
            await hub.call(upstream, tool("x"))
        assert caught.value.__notes__ == ["no configuration"]


@pytest.mark.requirement("R5")
async def test_missing_command_is_named(hub: Connections) -> None:
    with pytest.raises(errors.Unreachable, match="not installed") as caught:
        await hub.call(odd(command="no-such-command"), tool("x"))
    assert caught.value.outcome == "not_sent"


async def test_noise_between_messages_is_skipped(hub: Connections) -> None:
    assert await call(hub, odd("chatty"), "echo")


@pytest.mark.parametrize(
    ("do", "kind"),
    [
        ("die", errors.Lost),
        ("noise", errors.ProtocolFault),
        ("wrong-id", errors.ProtocolFault),
        ("long-line", errors.TooLarge),
        ("hang", errors.TimedOut),
        ("close-stdout", errors.Lost),
        ("endless-noise", errors.ProtocolFault),
    ],
)
@pytest.mark.requirement("U19")
async def test_fault_ends_the_call_and_the_next_one_works(
    hub: Connections, book: MemoryBook, do: str, kind: type[errors.UpstreamError]
) -> None:
    upstream = odd(call_s=2 if do == "hang" else 20)
    await quiet(hub, book, upstream)
    with pytest.raises(kind) as caught:
        await call(hub, upstream, do)
    assert caught.value.outcome == "unknown"
    assert await call(hub, upstream, "echo")


@pytest.mark.requirement("U18")
async def test_call_that_meets_a_dying_process_runs_on_the_next_one(hub: Connections, book: MemoryBook) -> None:
    upstream = odd()
    await quiet(hub, book, upstream)
    pid = (await call(hub, upstream, "echo"))["pid"]
    dying = asyncio.create_task(call(hub, upstream, "close-stdout"))
    while Path(f"/proc/{pid}/fd/1").is_symlink():
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.02)
    assert (await call(hub, upstream, "echo"))["pid"] != pid
    with pytest.raises(errors.Lost):
        await dying


async def test_too_long_line_harms_no_other_call(hub: Connections) -> None:
    upstream = odd(call_s=20)
    other = asyncio.create_task(call(hub, replace(upstream, id="u2"), "echo"))
    with pytest.raises(errors.TooLarge):
        await call(hub, upstream, "long-line")
    assert await other


@pytest.mark.requirement("R1")
async def test_flood_on_stderr_blocks_nothing(hub: Connections) -> None:
    assert await call(hub, odd(), "flood-stderr")


@pytest.mark.requirement("R1")
async def test_child_sees_no_variable_of_the_hub(hub: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCPHUB_SECRET_KEY", "canary-of-the-hub")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-the-host")
    seen = await call(hub, odd(env={"OWN": "1"}), "environment")
    assert seen["OWN"] == "1"
    assert "canary" not in str(seen)


async def test_death_is_reported_without_the_secrets_it_cries(hub: Connections, book: MemoryBook) -> None:
    upstream = odd(env={"TOKEN": "secret-value-1"})
    hub.set_specs([upstream])
    await book.until(lambda: "u1" in book.listings)
    with pytest.raises(errors.Lost):
        await call(hub, upstream, "die")
    await book.until(lambda: any(report.state == "down" for _, report in book.history))
    down = next(report for _, report in book.history if report.state == "down")
    assert "SIGKILL" in down.error
    assert "about to die" in down.stderr_tail
    assert "secret-value-1" not in down.stderr_tail
    await book.until(lambda: book.reports["u1"].state == "up")


@pytest.mark.requirement("R1")
async def test_stop_leaves_no_process_not_even_one_that_left_its_group(hub: Connections) -> None:
    server = (await call(hub, odd("deaf"), "echo"))["pid"]
    grandchild = (await call(hub, odd("deaf"), "grandchild"))["pid"]
    assert alive(grandchild)
    await hub.stop()
    assert not alive(server)
    assert not alive(grandchild)


@pytest.mark.requirement("R1")
@pytest.mark.requirement("U7")
async def test_killed_hub_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    script = Path(__file__).with_name("little_hub.py")
    hub = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.links.little_hub",
        str(ODD),
        str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        cwd=script.parents[2],
    )
    assert hub.stdout is not None
    *pids, file = (await hub.stdout.readline()).decode().split()
    server, grandchild = map(int, pids)
    assert Path(file).read_bytes() == b"canary"
    assert alive(server)
    assert alive(grandchild)
    os.kill(hub.pid, signal.SIGKILL)
    await hub.wait()
    await until_gone(server)
    await until_gone(grandchild)
    async with asyncio.timeout(10):
        while list(tmp_path.iterdir()):
            await asyncio.sleep(0.05)


@pytest.mark.requirement("P7")
async def test_untied_request_reaches_the_only_call_of_a_private_connection(hub: Connections) -> None:
    sink = Listening(reply={"action": "decline"})
    client = ClientFacts(capabilities={"elicitation": {}})
    seen = await call(hub, odd(), "ask-untied", sink=sink, client=client, holder="user:1")
    assert seen["answer"] == {"jsonrpc": "2.0", "id": 900, "result": {"action": "decline"}}
    assert len(sink.asked) == 1


@pytest.mark.requirement("P7")
async def test_untied_request_on_a_shared_connection_is_refused(hub: Connections, book: MemoryBook) -> None:
    await quiet(hub, book, odd())
    sink = Listening(reply={"action": "accept"})
    seen = await call(hub, odd(), "ask-untied", sink=sink, client=ClientFacts({"elicitation": {}}))
    assert seen["answer"]["error"]["code"] == -32601
    assert not sink.asked


@pytest.mark.requirement("P7")
async def test_request_after_a_cancelled_call_is_not_pinned_on_the_next(hub: Connections) -> None:
    sink = Listening(reply={"action": "accept"})
    client = ClientFacts({"elicitation": {}})
    upstream = odd(call_s=0.3)
    with pytest.raises(errors.TimedOut):
        await call(hub, upstream, "hang", client=client, holder="user:1")
    seen = await call(hub, upstream, "ask-untied", sink=sink, client=client, holder="user:1")
    assert "error" in seen["answer"] or seen["answer"].get("method")
    assert not sink.asked


@pytest.mark.requirement("P5")
@pytest.mark.parametrize(("server", "eras"), [("both", ("handshake", "modern")), ("modern", ("modern", "modern"))])
async def test_own_process_is_greeted_in_the_era_of_its_client(
    hub: Connections, book: MemoryBook, tmp_path: Path, server: Any, eras: tuple[str, str]
) -> None:
    entry = asking_stdio(server, tmp_path / "marks")
    upstream = spec(transport="stdio", command=entry["command"], args=tuple(entry["args"]), env=entry["env"])
    upstream = replace(upstream, sharing="per-user")
    await quiet(hub, book, upstream)
    client = ClientFacts({"elicitation": {}}, era="handshake")
    sink = Listening(reply={"action": "accept", "content": {"colour": "red"}})

    old = await hub.call(upstream, tool("colours", sink=sink, client=client, holder="user:1"))
    new = await hub.call(
        upstream, tool("capabilities", client=structs.replace(client, era="modern"), holder="user:1")
    )

    assert (old.era, new.era) == eras
    assert bool(sink.asked) == (server == "both")
    assert (facts := hub.facts("u1")) is not None
    assert facts.era == "modern"


async def test_second_answer_is_counted_and_reaches_nobody(hub: Connections, book: MemoryBook) -> None:
    await quiet(hub, book, odd())
    before = strays()
    answers = await asyncio.gather(*(call(hub, odd(), "twice" if n % 2 else "echo") for n in range(10)))
    assert len({answer["pid"] for answer in answers}) == 1
    async with asyncio.timeout(10):
        while strays() < before + 5:
            await asyncio.sleep(0.02)


def strays() -> float:
    return REGISTRY.get_sample_value("mcphub_upstream_strays_total", {"upstream": "thing"}) or 0


@pytest.mark.requirement("U13")
@pytest.mark.parametrize(
    ("sharing", "withheld", "listed"),
    [
        ("shared", (), []),
        ("per-user", (), ["needs-elicitation", "needs-roots", "needs-sampling"]),
        ("per-session", ("sampling",), ["needs-elicitation", "needs-roots"]),
    ],
)
async def test_catalogue_holds_what_clients_on_connections_of_their_own_can_use(
    hub: Connections, book: MemoryBook, sharing: Any, withheld: tuple[str, ...], listed: list[str]
) -> None:
    await quiet(hub, book, odd(sharing=sharing, withheld=frozenset(withheld)))
    assert [each["name"] for each in book.listings["u1"]["tool"]] == listed


async def test_holders_do_not_share_a_process(hub: Connections) -> None:
    one, two = [await call(hub, odd(), "echo", holder=holder) for holder in ("user:1", "user:2")]
    assert one["pid"] != two["pid"]
    await hub.release("user:1")
    await until_gone(one["pid"])
    assert (await call(hub, odd(), "echo", holder="user:2"))["pid"] == two["pid"]


@pytest.mark.requirement("X7")
async def test_changed_revision_starts_anew_and_the_old_process_ends(hub: Connections) -> None:
    old = odd()
    hub.set_specs([old])
    before = await call(hub, old, "echo")
    new = odd(revision=2)
    hub.set_specs([new])
    after = await call(hub, new, "echo")
    assert before["pid"] != after["pid"]
    await until_gone(before["pid"])


@pytest.mark.requirement("U10")
async def test_removed_upstream_is_stopped(hub: Connections, book: MemoryBook) -> None:
    hub.set_specs([odd()])
    pid = (await call(hub, odd(), "echo"))["pid"]
    hub.set_specs([])
    await until_gone(pid)
    await book.until(lambda: book.reports["u1"].state == "stopped")


async def test_restart_replaces_the_process(hub: Connections) -> None:
    first = (await call(hub, odd(), "echo"))["pid"]
    hub.restart("u1")
    assert (await call(hub, odd(), "echo"))["pid"] != first
    await until_gone(first)
