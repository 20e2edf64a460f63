"""What every store of quotas keeps to, and what each does where its file or its server fails."""

import asyncio
import os
import sqlite3
import stat
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from massgen import paths
from massgen.errors import QuotaError, UsageError
from massgen.limiter.quotas import Blocked, Limits, Weights
from massgen.limiter.stores import QuotaStore, shared
from massgen.limiter.stores.memory import Memory
from massgen.limiter.stores.redis import Redis
from massgen.limiter.stores.sqlite import Sqlite
from massgen.limiter.windows import next_midnight
from tests.redis_server import RedisServer

ONE = Weights()
NOON = 1_795_262_400.0
"""Noon of a day in UTC."""
HOUR = 3600.0


@dataclass
class Clock:
    """The machine's clock and the wall's, which start apart."""

    now: float = 5000.0
    wall: float = NOON

    def wait(self, seconds: float) -> None:
        self.now, self.wall = self.now + seconds, self.wall + seconds


@dataclass
class Place:
    """Where stores of one kind meet; each is closed at the end."""

    make: Callable[..., QuotaStore]
    told: list[str] = field(default_factory=list[str])
    made: list[QuotaStore] = field(default_factory=list[QuotaStore])

    def store(self, **how: Any) -> QuotaStore:
        store = self.make(**how)
        self.made.append(store)
        return store


@pytest.fixture(scope="session")
def server() -> Generator[RedisServer]:
    with RedisServer() as running:
        yield running


@asynccontextmanager
async def closing(place: Place) -> AsyncGenerator[Place]:
    yield place
    for store in place.made:
        await store.aclose()
        await store.aclose()


REDIS = pytest.param("redis", marks=pytest.mark.redis)


@pytest.fixture(params=["memory", "sqlite", REDIS])
async def every(request: pytest.FixtureRequest) -> AsyncGenerator[Place]:
    async with closing(_place(request)) as place:
        yield place


@pytest.fixture(params=["sqlite", REDIS])
async def common(request: pytest.FixtureRequest) -> AsyncGenerator[Place]:
    """Stores that processes share: each store made is as of a process of its own."""
    async with closing(_place(request)) as place:
        yield place


@pytest.fixture
async def files(tmp_path: Path) -> AsyncGenerator[Place]:
    async with closing(_sqlite(tmp_path / "quotas.db")) as place:
        yield place


def _place(request: pytest.FixtureRequest) -> Place:
    match request.param:
        case "memory":
            return Place(Memory)
        case "sqlite":
            return _sqlite(request.getfixturevalue("tmp_path") / "quotas.db")
        case _:
            running: RedisServer = request.getfixturevalue("server")
            running.command("FLUSHALL")
            return _redis(running)


def _sqlite(path: Path) -> Place:
    told: list[str] = []
    return Place(partial(Sqlite, path, told=told.append), told)


def _redis(server: RedisServer) -> Place:
    told: list[str] = []
    return Place(partial(Redis, server.url, told=told.append), told)


async def granted(store: QuotaStore, limits: Limits, weights: Weights = ONE) -> str:
    ticket = await store.reserve("key", limits, weights)
    assert isinstance(ticket, str), ticket
    return ticket


async def blocked(store: QuotaStore, limits: Limits, weights: Weights = ONE) -> Blocked:
    why = await store.reserve("key", limits, weights)
    assert isinstance(why, Blocked)
    return why


async def made(store: QuotaStore, limits: Limits, weights: Weights = ONE) -> None:
    """A call that is over at once."""
    await store.finish("key", await granted(store, limits, weights), None)


async def in_time(store: QuotaStore, limits: Limits, weights: Weights = ONE) -> str:
    """A ticket, asked for again and again as whoever waits does."""
    while True:
        answer = await store.reserve("key", limits, weights)
        if isinstance(answer, str):
            return answer
        await asyncio.sleep(0.02 if answer.wait is None else max(0.002, min(answer.wait, 1.0)))


async def fill(store: QuotaStore, limits: Limits) -> int:
    """How many calls are granted, and over, before one is blocked."""
    for number in range(1000):
        ticket = await store.reserve("key", limits, ONE)
        if isinstance(ticket, Blocked):
            return number
        await store.finish("key", ticket, None)
    raise AssertionError("no end")


async def test_every_dimension_limits_and_the_longest_wait_is_told(every: Place):
    store = every.store()
    limits = Limits(rpm=2, tpm=100, itpm=70, otpm=60, rpd=9, tpd=1000, concurrency=3, cost=1.0)
    await made(store, limits, Weights(40, 20, 0.25))
    assert await store.use("key", limits) == {
        "rpm": (1, 2), "tpm": (60, 100), "itpm": (40, 70), "otpm": (20, 60), "rpd": (1, 9), "tpd": (60, 1000),
        "concurrency": (0, 3), "cost": (0.25, 1.0),
    }  # fmt: skip
    why = await blocked(store, limits, Weights(20, 30, 0.8))
    assert (why.dimension, why.used, why.limit) == ("cost", 0.25, 1.0)
    assert why.wait == pytest.approx(86_400, abs=5)
    why = await blocked(store, limits, Weights(31, 0))
    assert (why.dimension, why.used) == ("itpm", 40)
    assert why.wait == pytest.approx(60, abs=5)


@pytest.mark.parametrize(("counts", "used"), [("input", 3), ("total", 8)])
async def test_tokens_count_as_the_provider_counts_them(every: Place, counts: Any, used: float):
    store, limits = every.store(), Limits(tpm=10, tpd=100, counts=counts)
    await made(store, limits, Weights(3, 5))
    assert await store.use("key", limits) == {"tpm": (used, 10), "tpd": (used, 100)}


async def test_a_call_leaves_one_window_after_its_acknowledgement(every: Place):
    store, limits = every.store(), Limits(rpm=1, minute_seconds=0.15)
    ticket = await granted(store, limits)
    assert await blocked(store, limits) == Blocked("rpm", 1, 1, None)
    began = time.monotonic()
    await store.acked("key", ticket)
    why = await blocked(store, limits)
    assert why.wait is not None
    assert 0 < why.wait <= 0.15
    await in_time(store, limits)
    assert time.monotonic() - began >= 0.149


async def test_the_actual_weights_replace_the_reserved_ones(every: Place):
    store, limits = every.store(), Limits(tpm=100, tpd=1000, cost=1.0)
    ticket = await granted(store, limits, Weights(60, 30, 0.5))
    await store.finish("key", ticket, Weights(10, 10, 0.125))
    assert await store.use("key", limits) == {"tpm": (20, 100), "tpd": (20, 1000), "cost": (0.125, 1.0)}


async def test_what_has_left_is_not_corrected(every: Place):
    store, limits = every.store(), Limits(tpm=100, tpd=1000, minute_seconds=0.05)
    ticket = await granted(store, limits, Weights(60))
    await store.acked("key", ticket)
    await store.finish("key", await in_time(store, limits, Weights(50)), None)
    await store.finish("key", ticket, Weights(10))
    used = await store.use("key", limits)
    assert used["tpm"][0] in (0, 50)
    assert used["tpd"] == (60, 1000)


async def test_a_released_call_gives_everything_back_unless_it_was_acknowledged(every: Place):
    store, limits = every.store(), Limits(rpm=5, tpd=100, concurrency=2, cost=1.0)
    ticket = await granted(store, limits, Weights(10, 0, 0.5))
    await store.release("key", ticket)
    nothing = {"rpm": (0, 5), "tpd": (0, 100), "concurrency": (0, 2), "cost": (0, 1.0)}
    assert await store.use("key", limits) == nothing
    ticket = await granted(store, limits, Weights(10))
    await store.acked("key", ticket)
    await store.release("key", ticket)
    assert await store.use("key", limits) == {**nothing, "rpm": (1, 5), "tpd": (10, 100)}


async def test_a_place_of_concurrency_is_free_when_the_call_is_over(every: Place):
    store, limits = every.store(), Limits(concurrency=1)
    ticket = await granted(store, limits)
    await store.acked("key", ticket)
    assert await blocked(store, limits) == Blocked("concurrency", 1, 1, None)
    await store.finish("key", ticket, None)
    await granted(store, limits)


async def test_what_is_said_twice_or_of_an_unknown_call_is_harmless(every: Place):
    store, limits = every.store(), Limits(rpm=9, concurrency=9)
    ticket = await granted(store, limits)
    for _ in range(2):
        await store.acked("key", ticket)
    for _ in range(2):
        await store.finish("key", ticket, Weights(1, 1))
    for unknown in (ticket, "unknown"):
        await store.acked("key", unknown)
        await store.release("key", unknown)
        await store.finish("key", unknown, None)
    assert await store.use("key", limits) == {"rpm": (1, 9), "concurrency": (0, 9)}


async def test_a_call_that_never_fits_is_refused_at_once(every: Place):
    store = every.store()
    with pytest.raises(QuotaError, match="larger than the limit of 10 tokens a minute"):
        await store.reserve("key", Limits(tpm=10), Weights(11))
    with pytest.raises(QuotaError, match="no quota"):
        await store.reserve("key", Limits(rpd=0), ONE)


async def test_a_hold_lasts_until_the_later_end(every: Place):
    store, limits = every.store(), Limits(rpm=9)
    await store.hold("key", 100.0, "rpm")
    await store.hold("key", 1.0, "tpm")
    why = await blocked(store, limits)
    assert (why.dimension, why.used, why.limit) == ("rpm", 0, 0)
    assert why.wait == pytest.approx(100, abs=5)
    assert isinstance(await store.reserve("other key", limits, ONE), str)
    await store.hold("nameless", 10.0, "")
    why = await store.reserve("nameless", limits, ONE)
    assert isinstance(why, Blocked)
    assert why.dimension == "hold"


async def test_changed_limits_keep_what_is_counted(every: Place):
    store = every.store()
    assert await fill(store, Limits(rpm=3)) == 3
    assert await fill(store, Limits(rpm=5)) == 2
    assert (await blocked(store, Limits(rpm=4))).used == 5


@pytest.mark.redis
async def test_a_new_day_of_the_server_begins_with_what_is_under_way(server: RedisServer):
    """A zone whose day began later is, for the server, a day that begins now."""
    server.command("FLUSHALL")
    zones = sorted(("Etc/GMT+12", "Etc/GMT+3", "Etc/GMT-9"), key=lambda zone: next_midnight(zone, time.time()))
    early, late = (Limits(rpd=9, tpd=99, day_zone=zone) for zone in (zones[0], zones[-1]))
    async with closing(_redis(server)) as place:
        store = place.store()
        await made(store, early, Weights(10))
        ticket = await granted(store, early, Weights(20))
        assert await store.use("key", early) == {"rpd": (2, 9), "tpd": (30, 99)}
        assert await store.use("key", late) == {"rpd": (1, 9), "tpd": (20, 99)}
        await store.finish("key", ticket, Weights(5))
        assert await store.use("key", late) == {"rpd": (1, 9), "tpd": (5, 99)}


async def test_the_limits_are_shared(common: Place):
    one, other = common.store(), common.store()
    limits = Limits(rpm=4, tpm=1000)
    mine = [await granted(one, limits, Weights(5)), await granted(one, limits, Weights(5))]
    theirs = await granted(other, limits, Weights(7))
    await made(other, limits, Weights(3))
    assert await one.use("key", limits) == await other.use("key", limits) == {"rpm": (4, 4), "tpm": (20, 1000)}
    why = await blocked(one, limits)
    assert why.dimension == "rpm"
    assert why.wait is not None, "another process's call may move at any time"
    await one.release("key", mine[0])
    await other.finish("key", theirs, None)
    assert common.told == []


async def test_the_limits_are_exact_under_a_storm_from_several_processes(common: Place):
    stores, limits = [common.store() for _ in range(3)], Limits(rpm=20)

    async def storm(store: QuotaStore) -> int:
        answers = await asyncio.gather(*(store.reserve("key", limits, ONE) for _ in range(20)))
        return sum(isinstance(answer, str) for answer in answers)

    assert sum(await asyncio.gather(*map(storm, stores))) == 20
    assert (await stores[0].use("key", limits))["rpm"] == (20, 20)


async def test_whoever_waits_keeps_the_turn_against_smaller_calls(common: Place):
    large, small = common.store(), common.store()
    limits = Limits(tpm=10, minute_seconds=0.3)
    await made(small, limits, Weights(6))
    assert (await blocked(large, limits, Weights(10))).wait
    assert (await blocked(small, limits, Weights(1))).used == 6, "the large call came first"
    await in_time(large, limits, Weights(10))
    assert isinstance(await small.reserve("key", limits, Weights(1)), Blocked)


async def test_who_does_not_ask_again_loses_the_turn(common: Place):
    gone, waiting = common.store(), common.store()
    limits = Limits(tpm=10)
    await made(waiting, limits, Weights(1))
    await blocked(gone, limits, Weights(10))
    assert isinstance(await waiting.reserve("key", limits, Weights(1)), Blocked)
    async with asyncio.timeout(shared.TURN + 3):
        await in_time(waiting, limits, Weights(1))


async def test_the_calls_of_the_dead_count_as_acknowledged_when_their_lease_ends(common: Place):
    dead, alive = common.store(lease=1000), common.store(lease=0.2)
    limits = Limits(rpm=1, concurrency=1, minute_seconds=0.2)
    await granted(dead, limits)
    assert (await blocked(alive, limits)).wait is not None
    began = time.monotonic()
    await in_time(alive, limits)
    assert 0.2 < time.monotonic() - began < 3
    assert common.told == []


async def test_whoever_leaves_ends_its_calls(common: Place):
    gone, waiting = common.store(), common.store()
    limits = Limits(concurrency=1, rpm=2)
    await granted(gone, limits)
    await blocked(gone, limits)
    await gone.aclose()
    await granted(waiting, limits)
    assert await waiting.use("key", limits) == {"concurrency": (1, 1), "rpm": (2, 2)}


async def test_the_living_keep_their_calls_past_the_lease(common: Place):
    holder, other = common.store(lease=0.1), common.store(lease=0.1)
    limits = Limits(concurrency=1)
    ticket = await granted(holder, limits)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        why = await blocked(other, limits)
        assert why.wait is not None
        await asyncio.sleep(why.wait / 5)
    await holder.finish("key", ticket, None)
    await granted(other, limits)


async def test_cancelling_whoever_asks_leaks_nothing(common: Place):
    store, limits = common.store(), Limits(rpm=9)
    await store.use("key", limits)
    asking = [asyncio.create_task(store.reserve("key", limits, ONE)) for _ in range(5)]
    await asyncio.sleep(0)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    while (await store.use("key", limits))["rpm"][0] > 0:
        await asyncio.sleep(0.01)


def ticking(place: Place, clock: Clock, **how: Any) -> QuotaStore:
    return place.store(clock=lambda: clock.now, wall=lambda: clock.wall, **how)


async def test_a_day_survives_a_restart_of_the_process(files: Place):
    limits, clock = Limits(rpd=5), Clock()
    first = ticking(files, clock)
    for _ in range(3):
        await made(first, limits)
    await first.aclose()
    clock.wait(HOUR)
    second = ticking(files, clock)
    assert await fill(second, limits) == 2
    assert (await blocked(second, limits)).wait == 11 * HOUR
    clock.wait(11 * HOUR)
    assert await fill(second, limits) == 5


async def test_a_day_survives_a_restart_of_the_machine_and_holds_do_too(files: Place):
    limits, clock = Limits(rpm=3, rpd=5, concurrency=1), Clock()
    first = ticking(files, clock, boot=lambda: "one")
    await made(first, limits)
    await granted(first, limits)
    await first.hold("key", HOUR, "rpd")
    await first.aclose()
    restarted = Clock(12.0, clock.wall + 600)
    second = ticking(files, restarted, boot=lambda: "two")
    assert await second.use("key", limits) == {"rpm": (2, 3), "rpd": (2, 5), "concurrency": (0, 1)}
    why = await blocked(second, limits)
    assert (why.dimension, why.wait) == ("rpd", pytest.approx(HOUR - 600))
    restarted.wait(HOUR)
    assert await fill(second, limits) == 3
    assert (await blocked(second, limits)).wait == 11 * HOUR - 600
    third = ticking(files, restarted, boot=lambda: "two")
    assert (await third.use("key", limits))["rpd"] == (5, 5)


async def test_a_clock_that_begins_anew_is_noticed_where_the_platform_does_not_tell(files: Place):
    limits, clock = Limits(rpm=1), Clock()
    first = ticking(files, clock, boot=str)
    await made(first, limits)
    await first.aclose()
    again = Clock(10.0, clock.wall)
    second = ticking(files, again, boot=str)
    assert (await blocked(second, limits)).wait == 60.0


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_a_wall_clock_that_is_set_brings_no_second_day(files: Place, step: float):
    limits, clock = Limits(rpd=5), Clock(wall=NOON + 11.5 * HOUR)
    store = ticking(files, clock)
    assert await fill(store, limits) == 5
    clock.wall += step
    assert await fill(store, limits) == 0
    clock.wall -= step
    clock.wait(HOUR)
    assert await fill(store, limits) == 5


async def test_a_call_over_midnight_counts_on_both_days(files: Place):
    limits, clock = Limits(rpd=2, tpd=50), Clock(wall=NOON + 12 * HOUR - 5)
    store = ticking(files, clock)
    await made(store, limits)
    ticket = await granted(store, limits, Weights(30))
    clock.wait(10)
    assert await store.use("key", limits) == {"rpd": (1, 2), "tpd": (30, 50)}
    await store.finish("key", ticket, Weights(20))
    assert await store.use("key", limits) == {"rpd": (1, 2), "tpd": (20, 50)}
    clock.wait(48 * HOUR)
    assert await fill(store, limits) == 2


async def test_clocks_that_disagree_about_midnight_count_on_both_sides(files: Place):
    limits, clock = Limits(rpd=3), Clock(wall=NOON + 11.5 * HOUR)
    store = ticking(files, clock)
    await made(store, limits)
    clock.wall += HOUR
    ticket = await granted(store, limits)
    await store.release("key", ticket)
    await store.finish("key", await granted(store, limits), Weights(5))
    clock.wall -= HOUR
    clock.wait(HOUR)
    assert (await store.use("key", limits))["rpd"] == (1, 3)


async def test_the_file_is_for_its_owner_alone_and_in_the_data_folder(tmp_path: Path):
    store = Sqlite()
    await made(store, Limits(rpm=1))
    await store.aclose()
    path = paths.data_dir() / "quotas.db"
    assert path.is_relative_to(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(path.parent)) == ["quotas.db"]


def spoil_header(path: Path) -> None:
    """SQLite only reads a file whose header says that a later version wrote it."""
    with path.open("r+b") as file:
        file.seek(18)
        file.write(b"\x03")


def spoil(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with sqlite3.connect(path) as db:
            db.execute(statement)
        db.close()

    return change


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no database": (lambda path: path.write_bytes(b"what is this?" * 100), "file is not a database; delete the file"),
    "cut": (lambda path: os.truncate(path, 3000), "delete the file"),
    "another version": (spoil("PRAGMA user_version = 99"), "format 99"),
    "nonsense": (spoil("UPDATE accounts SET state = '[1]'"), "its contents are damaged"),
    "read-only": (spoil_header, "must be writable"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "a folder that you can write"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_file_that_cannot_be_used_is_told_once_and_never_lets_everything_through(
    files: Place, tmp_path: Path, fault: str
):
    limits, (change, message) = Limits(rpm=3), FAULTS[fault]
    first = files.store()
    await made(first, limits)
    await first.aclose()
    change(tmp_path / "quotas.db")
    store = files.store()
    assert await fill(store, limits) == 3
    assert len(files.told) == 1
    assert message in files.told[0]
    assert str(tmp_path / "quotas.db") in files.told[0]
    assert "counted in this process alone" in files.told[0]
    assert (await store.use("key", limits))["rpm"] == (3, 3)


async def test_a_file_that_is_mended_is_used_again(files: Place, tmp_path: Path):
    (tmp_path / "quotas.db").write_bytes(b"what is this?" * 100)
    store, other, limits = files.store(retry=0.05), files.store(retry=0.05), Limits(rpm=9, tpm=100)
    open_still = await granted(store, limits, Weights(50))
    await made(store, limits, Weights(7))
    await store.release("key", await granted(store, limits, Weights(9)))
    (tmp_path / "quotas.db").unlink()
    while len(files.told) < 2:
        await store.use("key", limits)
        await asyncio.sleep(0.01)
    assert files.told[1] == f"rate limits are shared again: quotas in {tmp_path / 'quotas.db'} is back"
    assert await other.use("key", limits) == {"rpm": (2, 9), "tpm": (57, 100)}
    await store.finish("key", open_still, Weights(1))
    assert await other.use("key", limits) == {"rpm": (2, 9), "tpm": (8, 100)}


@pytest.mark.parametrize("again", [True, False])
async def test_a_file_that_was_deleted_is_made_anew_for_all(files: Place, tmp_path: Path, again: bool):
    limits, how = Limits(rpm=9), {"retry": 0.02, "lease": 0.1}
    one, other = files.store(**how), files.store(**how)
    for store in (one, other):
        await made(store, limits)
    for path in tmp_path.glob("quotas.db*"):
        path.unlink()
    if again:
        await made(files.store(), limits)
    while sum("shared again" in each for each in files.told) < 2:
        for store in (one, other):
            await store.use("key", limits)
        await asyncio.sleep(0.01)
    await made(one, limits)
    assert (await other.use("key", limits))["rpm"][0] == 1 + again
    assert "deleted or replaced" in files.told[0]


async def test_a_file_that_another_program_keeps_locked_is_given_up_in_time(files: Place, tmp_path: Path):
    store, limits = files.store(patience=0.1), Limits(rpm=2)
    await made(store, limits)
    locking = sqlite3.connect(tmp_path / "quotas.db", isolation_level=None)
    locking.execute("BEGIN IMMEDIATE")
    await made(store, limits)
    assert (await blocked(store, limits)).used == 2
    locking.close()
    assert "locked" in files.told[0]


async def test_a_short_wait_for_another_process_is_no_failure(files: Place, tmp_path: Path):
    store, limits = files.store(), Limits(rpm=2)
    await made(store, limits)
    locking = sqlite3.connect(tmp_path / "quotas.db", isolation_level=None)
    locking.execute("BEGIN IMMEDIATE")
    asking = asyncio.create_task(granted(store, limits))
    await asyncio.sleep(0.05)
    assert not asking.done()
    locking.execute("COMMIT")
    locking.close()
    await asking
    assert files.told == []


@pytest.mark.redis
async def test_while_the_server_is_away_each_process_keeps_to_its_share():
    with RedisServer() as server:
        async with closing(_redis(server)) as place:
            one, other = place.store(retry=0.05), place.store(retry=0.05)
            limits = Limits(rpm=9, tpm=100, rpd=90)
            for _ in range(3):
                await made(one, limits, Weights(5))
            await other.use("key", limits)
            await one.use("key", limits)
            server.stop()
            assert await fill(one, limits) == 1, "4.5 a process, three of them used"
            large = await granted(other, limits, Weights(95))
            assert (await blocked(other, limits, Weights(51))).dimension == "tpm"
            assert len(place.told) == 2
            assert all("kept to a share, 1/2 for this process" in each for each in place.told)
            server.start()
            while len(place.told) < 4:
                await one.use("key", limits)
                await other.use("key", limits)
                await asyncio.sleep(0.01)
            assert (await one.use("key", limits))["rpd"] == (2, 90), "of before, the server forgot what it had"
            await other.finish("key", large, Weights(1))
            assert (await one.use("key", limits))["tpm"] == (1, 100)


@pytest.mark.redis
async def test_a_hold_outlives_the_server_that_was_told():
    with RedisServer() as server:
        async with closing(_redis(server)) as place:
            store = place.store()
            await made(store, Limits(rpm=9))
            await store.hold("key", 100.0, "rpm")
            server.stop()
            assert (await blocked(store, Limits(rpm=9))).dimension == "rpm"
            server.start()


async def test_a_server_that_was_never_there_leaves_a_share_of_half():
    place = Place(partial(Redis, "redis://user:secret@127.0.0.1:1/0"))
    async with closing(place):
        store = place.store(told=place.told.append)
        assert await fill(store, Limits(rpm=5)) == 2
        assert "Redis at 127.0.0.1:1: " in place.told[0]
        assert "secret" not in place.told[0]
        assert len(place.told) == 1


@pytest.mark.redis
async def test_a_server_that_wants_a_password_says_so():
    with RedisServer("--requirepass", "secret") as server:
        async with closing(_redis(server)) as place:
            await made(place.store(), Limits(rpm=5))
            assert "authenticated" in place.told[0]


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://host:port/0", "redis://["])
def test_an_address_that_is_none_of_redis_is_refused(url: str):
    with pytest.raises(UsageError, match="not one of Redis"):
        Redis(url)


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(UsageError, match=r"massgen\[redis\]"):
        Redis("redis://localhost")


@pytest.mark.redis
async def test_a_server_whose_clock_was_set_back_does_not_keep_calls_for_an_hour(server: RedisServer):
    """Written as of an hour ahead; the server says when that is."""
    server.command("FLUSHALL")
    async with closing(_redis(server)) as place:
        store, limits = place.store(), Limits(rpm=1, minute_seconds=0.2)
        await made(store, limits)
        server.ahead("massgen:{key}:", 3600)
        why = await blocked(store, limits)
        assert why.wait is not None
        assert why.wait <= 0.2
        await in_time(store, limits)


class Flaky:
    """A ledger that is away when it is told to be, and remembers what it heard."""

    where, sharers = "the ledger", 2

    def __init__(self, name: str) -> None:
        self.heard: list[str] = []
        self.away_after = 10**9

    async def open(self) -> None: ...

    async def do(self, step: shared.Step, ago: float) -> shared.Answer:
        await asyncio.sleep(0)
        if len(self.heard) >= self.away_after:
            raise shared.Away("it is gone")
        self.heard.append(f"{step.verb} {step.ticket.partition('-')[2]}")
        return None

    async def close(self) -> None: ...


async def test_what_a_ledger_missed_it_is_told_in_order_and_once_even_if_it_goes_away_again():
    ledger, told = Flaky(""), list[str]()
    store = shared.Shared(lambda owner: ledger, told.append, 0.0)
    limits = Limits(rpm=9)
    await made(store, limits)
    ledger.away_after = 0
    await made(store, limits)
    await store.release("key", await granted(store, limits))
    await store.hold("key", 0.0, "rpm")
    ledger.away_after = len(ledger.heard) + 2
    await made(store, limits)
    ledger.away_after = 10**9
    await made(store, limits)
    await store.aclose()
    assert ledger.heard == [
        "reserve 0", "finish 0", "count 1", "finish 1", "count 2", "release 2", "hold ", "count 3", "finish 3", "reserve 4",
        "finish 4",
    ]  # fmt: skip
    assert len(told) == 2, "once that it went, once that it is back"


async def test_closing_waits_for_what_was_begun():
    ledger = Flaky("")
    store = shared.Shared(lambda owner: ledger, shared.ignore)
    asking = asyncio.create_task(store.reserve("key", Limits(rpm=9), ONE))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.sleep(0)
    await store.aclose()
    assert ledger.heard == ["reserve 0", "release 0"]


async def test_stores_that_make_the_file_at_the_same_time_do_not_fail(files: Place):
    stores, limits = [files.store() for _ in range(6)], Limits(rpm=100)
    await asyncio.gather(*(made(store, limits) for store in stores))
    assert (await stores[0].use("key", limits))["rpm"] == (6, 100)
    assert files.told == []


async def test_calls_that_a_start_of_the_machine_cut_off_count_from_then_on(files: Place):
    limits, clock = Limits(rpm=2, concurrency=2), Clock()
    cut_off = ticking(files, clock, boot=lambda: "one")
    await granted(cut_off, limits)
    restarted = Clock(12.0, clock.wall + 600)
    store = ticking(files, restarted, boot=lambda: "two")
    assert await store.use("key", limits) == {"rpm": (1, 2), "concurrency": (0, 2)}
    restarted.wait(60)
    assert (await store.use("key", limits))["rpm"] == (0, 2)


async def test_what_was_acknowledged_before_midnight_is_not_corrected_after_it(files: Place):
    limits, clock = Limits(tpd=50), Clock(wall=NOON + 12 * HOUR - 5)
    store = ticking(files, clock)
    ticket = await granted(store, limits, Weights(30))
    await store.acked("key", ticket)
    clock.wait(10)
    await store.finish("key", ticket, Weights(1))
    assert (await store.use("key", limits))["tpd"] == (0, 50)
