import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from massgen.errors import MassgenError, QuotaError
from massgen.limiter import Counts, Limiter, Slot, Wait
from massgen.limiter.quotas import Blocked, Feedback, Limits, Profile, Weights
from massgen.limiter.stores import QuotaStore
from massgen.limiter.stores.memory import Memory
from massgen.messages import Usage
from tests.judge import MORNING, perform

ONE = Weights()


@dataclass
class Desk:
    """A limiter of one model in virtual time, and what it said."""

    profile: Profile | None = field(default_factory=Profile)
    store: QuotaStore | None = None
    waits: list[Wait] = field(default_factory=list[Any])
    lessons: list[str] = field(default_factory=list[Any])

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.limiter = Limiter(
            lambda provider, model: self.profile, store=self.store, clock=self.loop.time,
            wall=lambda: MORNING + self.loop.time(), waited=self.waits.append, told=self.lessons.append,
        )  # fmt: skip

    def slot(self, weights: Weights | Usage = ONE, **more: Any) -> Slot:
        return self.limiter.slot("gemini", "flash", estimate=weights, **more)

    async def call(self, weights: Weights = ONE, seconds: float = 0.0, **more: Any) -> float:
        """When a call of `seconds` was let in."""
        async with self.slot(weights, **more) as slot:
            began = self.loop.time()
            slot.acked()
            await asyncio.sleep(seconds)
            slot.finish(weights)
        return began

    async def refused(self, feedback: Feedback) -> None:
        async with self.slot() as slot:
            slot.rejected(feedback)


def limited(**limits: Any) -> Profile:
    return Profile(limits=Limits(**limits))


def scene(play: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """A test in virtual time."""

    def test() -> None:
        perform(play)

    test.__name__, test.__doc__ = play.__name__, play.__doc__
    return test


def near(value: float) -> Any:
    return pytest.approx(value, abs=0.01)


@scene
async def test_a_model_without_a_profile_is_not_limited():
    desk = Desk(None)
    for _ in range(100):
        async with desk.slot() as slot:
            slot.acked(Feedback())
            slot.rejected(Feedback())
            slot.finish(Usage(1, 1))
    await desk.limiter.start("gemini", "flash")
    assert desk.loop.time() < 1e-3


@scene
async def test_waiting_is_told_when_it_begins_and_when_it_is_over():
    desk = Desk(limited(rpm=1))
    await desk.call()
    await asyncio.sleep(20)
    await desk.call()
    began, over = desk.waits
    assert began == Wait("gemini", "flash", "rpm", near(40), 1, 1)
    assert over == Wait("gemini", "flash", "rpm", near(40), 1, 1, over=True)


@scene
async def test_one_who_queues_behind_others_is_told_what_holds_them_up():
    desk = Desk(limited(rpm=1))
    await desk.call()
    await asyncio.gather(desk.call(), desk.call())
    assert [(wait.over, wait.dimension) for wait in desk.waits].count((False, "rpm")) == 2
    assert [wait.seconds for wait in desk.waits if wait.over] == [near(60), near(120)]


@scene
async def test_a_small_call_does_not_pass_a_large_one_that_came_before():
    desk, order = Desk(limited(tpm=100)), list[str]()

    async def ask(name: str, tokens: int) -> None:
        await desk.call(Weights(tokens))
        order.append(name)

    await desk.call(Weights(60))
    await asyncio.sleep(1)
    await asyncio.gather(ask("large", 90), ask("small", 10), ask("medium", 30))
    assert order == ["large", "small", "medium"]


@scene
async def test_a_higher_priority_goes_first_and_a_lower_one_is_not_starved():
    desk, order = Desk(limited(rpm=1)), list[str]()

    async def ask(name: str, priority: int) -> None:
        await desk.call(priority=priority)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        await desk.call()
        for name, priority in (("low", -1), ("first", 0), ("second", 0), ("high", 9)):
            group.create_task(ask(name, priority))
            await asyncio.sleep(1)
        for number in range(8):
            await asyncio.sleep(60)
            group.create_task(ask(f"later {number}", 0))
    assert order[:4] == ["high", "first", "second", "low"] or order.index("low") <= 4
    assert order.index("high") == 0
    assert order.index("first") < order.index("second")


@scene
async def test_a_call_larger_than_its_limit_fails_at_once_even_behind_a_queue():
    desk = Desk(limited(rpm=1, tpm=100))
    await desk.call()
    waiting = asyncio.create_task(desk.call())
    await asyncio.sleep(1)
    with pytest.raises(QuotaError, match=r"^gemini/flash: a call of 101 is larger than the limit of 100 tokens a min"):
        await desk.call(Weights(101))
    assert desk.loop.time() == near(1)
    assert await waiting == near(60)


@scene
async def test_a_cancelled_waiter_gives_its_place_to_the_next():
    desk = Desk(limited(rpm=1))
    await desk.call()
    tasks = [asyncio.create_task(desk.call()) for _ in range(3)]
    await asyncio.sleep(1)
    tasks[0].cancel()
    tasks[1].cancel()
    assert await tasks[2] == near(60)
    assert [wait.over for wait in desk.waits].count(True) == 3


@scene
async def test_a_call_that_was_never_sent_gives_everything_back():
    desk = Desk(limited(rpm=1, rpd=1, concurrency=1))
    with suppress(ConnectionError):
        async with desk.slot() as slot:
            await asyncio.sleep(5)
            slot.release()
            raise ConnectionError
    assert await desk.call() == near(5)


@scene
async def test_a_call_cancelled_in_flight_stays_counted_from_then_on():
    desk = Desk(limited(rpm=1, concurrency=1))
    with suppress(TimeoutError):
        async with asyncio.timeout(5), desk.slot():
            await asyncio.sleep(10)
    assert await desk.call() == near(66)  # a second on its way, then a minute


@scene
async def test_one_cancelled_in_the_moment_of_its_grant_leaks_nothing():
    desk = Desk(limited(rpm=1))
    await desk.call()
    first, second = (asyncio.create_task(desk.call()) for _ in range(2))
    desk.loop.call_at(60.001, first.cancel)
    for _ in range(10):
        desk.loop.call_soon(lambda: None)
    assert await second in (near(60), near(120))
    await asyncio.gather(first, return_exceptions=True)
    assert await desk.call() <= 181


@scene
async def test_what_a_call_did_not_use_lets_the_next_one_in():
    desk = Desk(limited(tpm=100))
    async with desk.slot(Usage(80, 20, 0.5)) as slot:
        waiting = asyncio.create_task(desk.call(Weights(50)))
        await asyncio.sleep(2)
        slot.acked()
        await asyncio.sleep(1)
        slot.finish(Usage(10, 5))
    assert await waiting == near(3)


@scene
async def test_a_full_house_waits_for_whoever_leaves():
    desk = Desk(limited(concurrency=2))
    begun = await asyncio.gather(*[desk.call(seconds=10) for _ in range(5)])
    assert begun == [near(0), near(0), near(10), near(10), near(20)]


@scene
async def test_the_head_learns_when_its_wait_ends_once_the_call_in_flight_is_acknowledged():
    desk = Desk(limited(rpm=1))
    async with desk.slot() as slot:
        waiting = asyncio.create_task(desk.call())
        await asyncio.sleep(7.5)
        slot.acked()
    assert await waiting == near(67.5)


@scene
async def test_changed_limits_apply_at_the_next_call():
    desk = Desk(limited(rpm=1))
    await desk.call()
    desk.profile = limited(rpm=3)
    assert [await desk.call(), await desk.call()] == [near(0), near(0)]


@scene
async def test_scopes_share_nothing():
    desk = Desk(limited(rpm=1))
    assert [await desk.call(scope="a"), await desk.call(scope="b")] == [near(0), near(0)]
    assert await desk.call(scope="a") == near(60)


@scene
async def test_paced_calls_are_spread_over_the_minute_and_a_cancelled_one_is_given_back():
    desk = Desk(Profile(limits=Limits(rpm=6), pacing=True))
    tasks = [asyncio.create_task(desk.call()) for _ in range(4)]
    await asyncio.sleep(1)
    tasks[2].cancel()
    begun = [await task for number, task in enumerate(tasks) if number != 2]
    assert begun == [pytest.approx(10 * turn, abs=0.2) for turn in (0, 1, 2)]
    assert await asyncio.gather(*[desk.call() for _ in range(3)])
    assert desk.loop.time() < 60


@scene
async def test_agents_of_one_model_start_apart_and_nothing_follows_the_last():
    desk, begun = Desk(Profile(cooldown=10)), list[float]()

    async def start(model: str) -> None:
        await desk.limiter.start("gemini", model)
        begun.append(desk.loop.time())

    await asyncio.gather(start("pro"), start("pro"), start("pro"), start("flash"))
    assert sorted(begun) == [near(0), near(0), near(10), near(20)]
    assert await desk.call() == near(20)


@scene
async def test_what_happened_is_counted_by_key():
    desk = Desk(limited(rpm=2, tpm=1000))
    tasks = [asyncio.create_task(desk.call(Weights(100, 50), scope="k")) for _ in range(3)]
    await asyncio.sleep(1)
    assert desk.limiter.counts()["gemini/flash#k"] == Counts(granted=2, queued=1, reserved=300, used=300)
    await asyncio.gather(*tasks)
    async with desk.slot(Weights(200, 100), scope="k") as slot:
        slot.finish(Usage(20, 10))
    counts = desk.limiter.counts()["gemini/flash#k"]
    assert (counts.granted, counts.waited, counts.queued) == (4, 1, 0)
    assert counts.seconds_waited == near(60)
    assert (counts.reserved, counts.used) == (750, 480)
    assert await desk.limiter.use() == {"gemini/flash#k": {"rpm": (2, 2), "tpm": (180, 1000)}}


@scene
async def test_rejections_are_counted_by_quota_and_of_many_names_together():
    desk = Desk(limited(rpm=1000))
    for number in range(30):
        async with desk.slot() as slot:
            slot.rejected(Feedback(limits={"rpm": 900}, retry_after=0.0, quota=f"Q{number % 25}"))
    rejected = desk.limiter.counts()["gemini/flash"].rejected
    assert (rejected["Q0"], rejected["Q19"], rejected["others"], len(rejected)) == (2, 1, 5, 21)


@scene
async def test_one_who_waits_for_the_pace_or_for_a_cooldown_is_told():
    desk = Desk(Profile(limits=Limits(rpm=6), pacing=True, cooldown=7))
    await asyncio.gather(desk.call(), desk.call())
    await asyncio.gather(desk.limiter.start("gemini", "flash"), desk.limiter.start("gemini", "flash"))
    told = [(wait.dimension, wait.over) for wait in desk.waits]
    assert told == [("pacing", False), ("pacing", True), ("cooldown", False), ("cooldown", True)]
    assert [wait.seconds for wait in desk.waits] == [pytest.approx(each, abs=0.1) for each in (10, 10, 7, 7)]


@scene
async def test_the_pace_needs_a_limit_of_requests():
    for limits in (Limits(tpm=100), Limits(rpm=math.inf)):
        desk = Desk(Profile(limits=limits, pacing=True))
        assert [await desk.call(), await desk.call()] == [near(0), near(0)]


@scene
async def test_one_who_waits_profits_at_once_when_a_call_finds_a_higher_limit():
    desk = Desk(limited(rpm=1))
    await desk.call()
    waiting = asyncio.create_task(desk.call())
    await asyncio.sleep(5)
    desk.profile = limited(rpm=9)
    await desk.call()
    assert await waiting == near(5)


@scene
async def test_one_who_waits_for_a_day_learns_of_a_higher_limit_within_a_minute():
    desk = Desk(limited(rpd=1))
    await desk.call()
    waiting = asyncio.create_task(desk.call())
    await asyncio.sleep(130)
    desk.profile = None
    assert await waiting == near(180)


@scene
async def test_a_call_that_was_left_in_flight_is_counted_when_the_limiter_is_closed():
    desk = Desk(limited(rpm=1, concurrency=1))
    with suppress(ConnectionError):
        async with desk.slot():
            raise ConnectionError
    await desk.limiter.aclose()
    assert await desk.limiter.use() == {"gemini/flash": {"concurrency": (0, 1), "rpm": (1, 1)}}
    assert await desk.call() == near(60)


@scene
async def test_what_is_said_of_a_call_after_its_end_changes_nothing():
    desk = Desk(limited(rpm=9))
    async with desk.slot() as slot:
        slot.acked()
        slot.acked()
        slot.finish(ONE)
        slot.finish(ONE)
        slot.release()
        slot.rejected(Feedback(retry_after=5.0))
        slot.acked()
    assert await desk.limiter.use() == {"gemini/flash": {"rpm": (1, 9)}}
    assert await desk.call() == near(0)


@scene
async def test_a_store_of_this_process_may_outlive_a_limiter():
    store = Memory(asyncio.get_running_loop().time)
    first, second = Desk(limited(rpm=2), store=store), Desk(limited(rpm=2), store=store)
    assert [await first.call(), await second.call(), await first.call()] == [near(0), near(0), near(60)]


# --- a store that takes its time ---


class Slow:
    """A store like those that other processes share: every step takes a while."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.memory = Memory(loop.time, lambda: MORNING + loop.time())
        self.closed, self.steps, self.lag = False, list[str](), 0.0

    async def _later(self, name: str, *rest: Any) -> Any:
        await asyncio.sleep(0.1)
        self.steps.append(name)
        return await getattr(self.memory, name)(*rest)

    async def reserve(self, key: str, limits: Limits, weights: Weights) -> str | Blocked:
        answer = await self._later("reserve", key, limits, weights)
        await asyncio.sleep(self.lag)
        return answer

    async def acked(self, key: str, ticket: str) -> None:
        await self._later("acked", key, ticket)

    async def finish(self, key: str, ticket: str, actual: Weights | None) -> None:
        await self._later("finish", key, ticket, actual)

    async def release(self, key: str, ticket: str) -> None:
        await self._later("release", key, ticket)

    async def hold(self, key: str, seconds: float, dimension: str) -> None:
        await asyncio.sleep(0)
        raise MassgenError("the store is away")

    async def use(self, key: str, limits: Limits) -> Mapping[str, tuple[float, float]]:
        return await self.memory.use(key, limits)

    async def aclose(self) -> None:
        self.closed = True


@scene
async def test_a_slow_store_is_asked_by_the_head_alone_and_told_in_order():
    store = Slow()
    desk = Desk(limited(rpm=2), store=store)
    begun = await asyncio.gather(*[desk.call() for _ in range(5)])
    assert begun == sorted(begun)
    assert begun[2] >= 60
    assert store.steps.index("acked") < store.steps.index("finish")
    await desk.limiter.aclose()
    assert store.closed
    assert store.steps.count("finish") == 5


@scene
async def test_a_slow_store_is_polled_because_other_processes_free_room():
    store = Slow()
    desk = Desk(limited(rpm=1), store=store)
    key, limits = "gemini/flash", Limits(rpm=1)
    foreign = await store.memory.reserve(key, limits, ONE)
    assert isinstance(foreign, str)
    waiting = asyncio.create_task(desk.call())
    await asyncio.sleep(10)
    await store.memory.release(key, foreign)
    assert 10 < await waiting < 11.5


@scene
async def test_room_that_is_made_while_an_answer_is_on_its_way_is_asked_for_at_once():
    store = Slow()
    desk, store.lag = Desk(limited(concurrency=1), store=store), 0.5
    begun = await asyncio.gather(desk.call(seconds=0.3), desk.call())
    assert begun == [near(0.6), near(1.8)]


@scene
async def test_a_ticket_that_comes_after_its_caller_was_cancelled_is_given_back():
    store = Slow()
    desk = Desk(limited(rpm=1), store=store)
    waiting = asyncio.create_task(desk.call())
    await asyncio.sleep(0.05)
    waiting.cancel()
    assert await desk.call() < 2
    await desk.limiter.aclose()
    assert store.steps.count("release") == 1


@scene
async def test_a_block_that_comes_after_its_caller_was_cancelled_is_dropped():
    store = Slow()
    desk = Desk(limited(rpm=1), store=store)
    await desk.call()
    waiting = asyncio.create_task(desk.call())
    await asyncio.sleep(0.45)
    waiting.cancel()
    await desk.limiter.aclose()
    assert "release" not in store.steps
    assert await desk.limiter.use() == {"gemini/flash": {"rpm": (1, 1)}}


@scene
async def test_a_store_that_fails_to_write_is_told():
    desk = Desk(limited(rpm=9), store=Slow())
    await desk.refused(Feedback(retry_after=5.0, limits={"rpm": 9}))
    await desk.limiter.aclose()
    assert desk.lessons == ["the store is away"]
