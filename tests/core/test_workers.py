"""Web processes that ask one another, over a Channels layer in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from mcphub.core.post import PIECE_BYTES, ChannelPost
from mcphub.core.workers import AnswerLost, Line, NotTaken, PostDown, Workers, new_worker_id

Handler = Callable[[Line, bytes], Any]


async def shout(line: Line, body: bytes) -> bytes:
    return body.upper()


async def for_ever(line: Line, body: bytes) -> bytes:
    line.say(b"began")
    await asyncio.Future()
    return b""


@asynccontextmanager
async def workers(*handlers: Handler | None, silent_s: float = 5) -> AsyncIterator[list[Workers]]:
    """One worker for each handler, which answers asks about `it`; joined."""
    layer = InMemoryChannelLayer(capacity=10_000)
    made = []
    for handler in handlers:
        own = new_worker_id()
        each = Workers(own, Interrupted(layer, own), ack_s=0.5, silent_s=silent_s)
        if handler is not None:
            each.answer("it", handler)
        await each.start()
        made.append(each)
    async with asyncio.timeout(30):
        while len(layer.groups.get("workers", ())) < len(made):
            await asyncio.sleep(0)
    yield made
    for each in made:
        await each.stop()


async def test_answer_of_another_worker_comes_back_whatever_its_size() -> None:
    async with workers(None, shout) as (one, two):
        for size in (0, 1, PIECE_BYTES, 3 * PIECE_BYTES + 7):
            assert await one.ask(two.own, "it", b"a" * size) == b"A" * size


async def test_asks_at_the_same_time_are_not_mixed_up() -> None:
    async with workers(shout, shout) as (one, two):
        words = [f"word {number}".encode() for number in range(200)]
        there = [one.ask(two.own, "it", word) for word in words]
        back = [two.ask(one.own, "it", word) for word in words]
        assert await asyncio.gather(*there, *back) == [word.upper() for word in words] * 2


async def test_what_nobody_takes_is_certainly_not_done() -> None:
    async with workers(None, None) as (one, two):
        for absent in (two.own, new_worker_id()):
            with pytest.raises(NotTaken):
                await one.ask(absent, "it", b"")


async def test_both_sides_hear_each_other_in_order() -> None:
    async def talk(line: Line, body: bytes) -> bytes:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        line.heard = heard.put_nowait
        for number in range(20):
            line.say(b"%d" % number)
            assert await heard.get() == b"%d!" % number
        return b"done"

    notes: list[bytes] = []

    def use(line: Line) -> None:
        def heard(body: bytes) -> None:
            notes.append(body)
            line.say(body + b"!")

        line.heard = heard

    async with workers(talk, talk) as (one, two):
        for asked in (two.own, one.own):
            notes.clear()
            assert await one.ask(asked, "it", b"", use) == b"done"
            assert notes == [b"%d" % number for number in range(20)]


@pytest.mark.parametrize("here", [False, True])
async def test_cancelling_an_ask_ends_the_work(here: bool) -> None:
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def work(line: Line, body: bytes) -> bytes:
        begun.set()
        try:
            await asyncio.Future()
        finally:
            ended.set()
        return b""

    async with workers(work, work) as (one, two):
        asking = asyncio.create_task(one.ask(one.own if here else two.own, "it", b""))
        await begun.wait()
        asking.cancel()
        await asyncio.wait_for(ended.wait(), 5)


async def test_handler_that_fails_leaves_its_asker_without_an_answer() -> None:
    async def fail(line: Line, body: bytes) -> bytes:
        raise ValueError

    async with workers(None, fail) as (one, two):
        with pytest.raises(AnswerLost):
            await one.ask(two.own, "it", b"")


async def test_worker_that_stops_says_so_to_its_askers() -> None:
    async with workers(None, for_ever) as (one, two):
        began = asyncio.Event()
        asking = asyncio.create_task(one.ask(two.own, "it", b"", lambda line: _hear(line, began)))
        await began.wait()
        await two.stop()
        with pytest.raises(AnswerLost):
            await asyncio.wait_for(asking, 2)


async def test_worker_that_falls_silent_is_given_up_and_one_that_works_on_is_not() -> None:
    async with workers(None, for_ever, for_ever, silent_s=0.4) as (one, two, three):
        began = [asyncio.Event(), asyncio.Event()]
        asks = [
            asyncio.create_task(one.ask(asked.own, "it", b"", lambda line, event=event: _hear(line, event)))
            for asked, event in zip((two, three), began, strict=True)
        ]
        for event in began:
            await event.wait()
        for task in two._tasks:
            task.cancel()
        done, _ = await asyncio.wait(asks, timeout=1.5)
        assert done == {asks[0]}
        assert isinstance(asks[0].exception(), AnswerLost)
        asks[1].cancel()


class Interrupted(ChannelPost):
    """A letter box that takes nothing while it is `down`."""

    down = False

    async def send(self, worker: str, data: bytes) -> None:
        if self.down:
            raise PostDown("down")
        await super().send(worker, data)


async def test_f31_an_ask_whose_end_was_lost_is_given_up_although_its_worker_goes_on_speaking() -> None:
    go_on = {b"short": asyncio.Event(), b"long": asyncio.Event()}

    async def work(line: Line, body: bytes) -> bytes:
        line.say(b"began")
        await go_on[body].wait()
        return body

    async with workers(None, work, silent_s=0.8) as (one, two):
        began = [asyncio.Event(), asyncio.Event()]
        short, long = (
            asyncio.create_task(one.ask(two.own, "it", body, lambda line, event=event: _hear(line, event)))
            for body, event in zip(go_on, began, strict=True)
        )
        for event in began:
            await event.wait()
        assert isinstance(two._post, Interrupted)
        two._post.down = True
        go_on[b"short"].set()
        async with asyncio.timeout(30):
            while len(two._serving) > 1 or two._outboxes:
                await asyncio.sleep(0)
        two._post.down = False
        done, _ = await asyncio.wait({short, long}, timeout=4, return_when=asyncio.FIRST_COMPLETED)
        assert done == {short}
        assert isinstance(short.exception(), AnswerLost)
        go_on[b"long"].set()
        assert await asyncio.wait_for(long, 2) == b"long"


def _hear(line: Line, began: asyncio.Event) -> None:
    line.heard = lambda _: began.set()


async def test_news_reach_every_other_worker() -> None:
    async with workers(None, None, None) as made:
        heard: list[tuple[int, str, bytes]] = []
        all_heard = asyncio.Event()

        def hear(number: int, sender: str, body: bytes) -> None:
            heard.append((number, sender, body))
            if len(heard) == 2:
                all_heard.set()

        for number, each in enumerate(made):
            each.hear("news", lambda sender, body, number=number: hear(number, sender, body))
        made[0].tell_all("news", b"x")
        await asyncio.wait_for(all_heard.wait(), 5)
        assert sorted(heard) == [(1, made[0].own, b"x"), (2, made[0].own, b"x")]


async def test_lone_worker_asks_itself() -> None:
    alone = Workers(new_worker_id())
    alone.answer("it", shout)
    await alone.start()
    assert await alone.ask(alone.own, "it", b"me") == b"ME"
    alone.tell_all("it", b"nobody hears")
    await alone.stop()
