"""Whatever ends the command, and whenever: `massgen --continue` finishes the run, and pays for no reply again that it has."""

import asyncio
import itertools
import json
import random
import re
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from massgen.coordination import Rules
from massgen.errors import Exit
from massgen.events import Stopped
from massgen.log import Log, read
from massgen.replay.verifying import verify
from tests.providers import Simulator
from tests.stage import Actor, Cue, Stage, actors, agents
from tests.test_truths import folder
from tests.troupe import MODELS, MOST, Troupe, recorded, write_team
from tests.warm import Order, Warm, warm

KILLS = 20
"""In each of the tests that end the command at random."""
WHOLE = 15_000
"""Bytes of a log, about."""
CPU = 0.1
"""Seconds of CPU that an undisturbed run takes, about."""


@pytest.fixture(scope="module")
def command() -> Generator[Warm]:
    with warm() as loaded:
        yield loaded


@dataclass(slots=True)
class Story:
    """A conversation, from the first life of the command to the one that brings the last answer."""

    command: Warm
    troupe: Troupe
    folder: Path
    dice: random.Random
    questions: int = 1
    kills: int = 0
    codes: list[int] = field(default_factory=list[int])

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text("utf-8").removesuffix("\n")

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text("utf-8")

    @property
    def session(self) -> Path | None:
        """The session in which a question stands."""
        logs = self.folder.glob("data/sessions/*/events.jsonl")
        return next((log.parent for log in logs if '"type":"Asked"' in _whole(log)), None)

    @property
    def log(self) -> str:
        return _whole(self.session / "events.jsonl") if self.session else ""

    @property
    def asked(self) -> int:
        return self.log.count('"type":"Asked"')

    @property
    def over(self) -> bool:
        """Whether all that was asked is answered."""
        return self.log.count('"type":"Stopped"') == self.asked

    async def live(self, *arguments: str, fatal: int = 0, delay: float = 0.0, **how: Any) -> int:
        """One life of the command; how it ended."""
        environment = {**self.troupe.born(fatal=fatal, delay=delay), "MASSGEN_HOME": str(self.folder)}
        self.troupe.pid = self.command.begin(Order(str(self.folder), arguments, environment, **how))
        await asyncio.to_thread(self.command.wait)
        self.troupe.born()
        code = self.command.reap()
        assert not re.search(r"Traceback|bug in massgen|Task ", self.err), self.err
        self.codes.append(code)
        return code

    async def deadly(self) -> bool:
        """A life that ends at a random point; whether it did not come to its own end before."""
        before, dice = self.log, self.dice
        left = max(0.1, 1 - len(before) / (WHOLE * self.questions))
        ends: list[dict[str, Any]] = [
            {"fatal": dice.randint(1, int(left * 20)), "delay": dice.choice((0.0, dice.random() * 0.01))},
            {"size": len(before) + dice.randint(1, int(left * WHOLE))},
            {"cpu": dice.random() * CPU},
        ]
        ended = await self.live(*self.next(), **dice.choice(ends))
        assert self.log.startswith(before), "what was recorded stays"
        self.kills += ended < 0
        self._check_lost(ended)
        return ended < 0

    def next(self) -> list[str]:
        """Ask, or go on, in one of the ways to say so."""
        if self.session is None:
            return ["--config", "team.yaml", "--quiet", "Why is the sky blue?"]
        following = self.asked < self.questions and (self.over or self.dice.random() < 0.5)
        which = self.dice.choice(([], [self.session.name], [str(self.session)]))
        return ["--quiet", "--continue", *which, *([f"And question {self.asked + 1}?"] if following else [])]

    def _check_lost(self, ended: int) -> None:
        """What was asked and is not in the log was under way when the process was ended: a call of each agent at most."""
        lost = self.troupe.lost(self.troupe.life - 1, self.log)
        models = Counter(each.model for each in lost.values())
        assert not models or (ended < 0 and max(models.values()) == 1), f"not recorded: {lost}"

    async def to_the_end(self) -> None:
        """Go on until there is an answer, and hold the whole story against what must be."""
        if self.asked == self.questions and self.over:
            await self._tell_again()
        while self.asked < self.questions or not self.over:
            assert await self.live(*self.next()) == Exit.ANSWER, self.err
        facts: list[dict[str, Any]] = [json.loads(line) for line in self.log.splitlines()[1:]]
        assert self.out == next(fact["content"] for fact in reversed(facts) if fact["type"] == "Presented")
        self._check_calls()
        _check_turns(facts, self.questions)
        assert await self.live("verify", str(self.session)) == Exit.ANSWER, self.out
        assert f"{len(facts):,} facts agree with the rules\n" in f"{self.out}\n"

    async def _tell_again(self) -> None:
        """The answer is there for who has not been told it."""
        assert await self.live("--quiet", "--continue") == Exit.USAGE
        assert "the last question of the session is answered" in self.err
        assert await self.live("replay", "--speed", "instant", str(self.session)) == Exit.ANSWER

    def _check_calls(self) -> None:
        kept, served = recorded(self.log), self.troupe.served
        assert len(kept) == len({*kept}) <= MOST * self.questions, (
            "a reply was recorded twice, or more than a run can take"
        )
        assert len(served) - len(kept) <= len(MODELS) * self.kills, "more was asked than was needed and was under way"
        order = sorted(range(len(served)), key=lambda number: (served[number].life, number))
        last = {served[number].asked: number for number in order}
        again = [served[number] for number in kept if last[served[number].asked] != number]
        assert not again, "what was asked again had been answered"
        for place, number in enumerate(order):
            if number not in kept:
                asked = served[number]
                after = next(served[each] for each in order[place + 1 :] if served[each].model == asked.model)
                assert after.messages[: len(asked.messages)] == asked.messages, "it did not go on where it had stopped"


def _whole(log: Path) -> str:
    """All lines of it that have their ends, and the lines they belong with."""
    lines = log.read_bytes().decode(errors="replace").split("\n")[:-1]
    while lines and '"more":true' in lines[-1]:
        del lines[-1]
    return "\n".join(lines)


def _check_turns(facts: list[dict[str, Any]], questions: int) -> None:
    """Every turn begins once, however often it was taken up; what was said in it, and paid, stays its own."""
    kinds = Counter(fact["type"] for fact in facts)
    assert (kinds["Asked"], kinds["Stopped"], kinds["Evaluated"]) == (questions,) * 3, kinds
    assert kinds["TurnFailed"] == 0, kinds
    begun = Counter((fact["agent"], fact["purpose"]) for fact in facts if fact["type"] == "TurnBegan")
    assert {begun[model, "answer"] for model in MODELS} == {2 * questions}, begun
    assert (begun["m3", "present"], begun["m3", "evaluate"]) == (2 * questions, questions), begun
    said, paid = ([fact["turn"] for fact in facts if fact["type"] == kind] for kind in ("Said", "Spent"))
    assert said == paid


@asynccontextmanager
async def story(command: Warm, folder: Path, dice: random.Random, questions: int = 1) -> AsyncGenerator[Story]:
    """Questions that have not been asked, in a `folder` of their own."""
    folder.mkdir()
    troupe = Troupe(dice)
    async with Simulator(troupe) as simulator:
        write_team(folder / "team.yaml", simulator.base_url)
        yield Story(command, troupe, folder, dice, questions)


async def test_an_undisturbed_run_is_as_long_as_is_said_here(command: Warm, tmp_path: Path) -> None:
    """So that the kills of the other tests fall where something happens."""
    async with story(command, tmp_path / "0", random.Random(0)) as undisturbed:
        await undisturbed.to_the_end()
    assert 18 <= len(undisturbed.troupe.served) <= MOST
    assert WHOLE / 2 < len(undisturbed.log) < WHOLE * 1.2


@pytest.mark.parametrize(("seed", "questions"), [(0, 1), (1, 1), (2, 1), (3, 2), (4, 3)])
async def test_after_kill_9_at_twenty_random_points_every_run_is_finished(
    seed: int, questions: int, command: Warm, tmp_path: Path
) -> None:
    dice, kills, names = random.Random(seed), 0, itertools.count()
    while kills < KILLS:
        async with story(command, tmp_path / str(next(names)), dice, questions) as told:
            for _ in range(dice.randint(1, 5 * questions)):
                if not await told.deadly() and told.asked == questions:
                    break
            await told.to_the_end()
        kills += told.kills


@pytest.mark.parametrize("seed", range(3))
async def test_a_disk_that_is_full_in_the_middle_of_a_write_ends_the_run_until_there_is_space(
    seed: int, command: Warm, tmp_path: Path
) -> None:
    dice = random.Random(seed)
    async with story(command, tmp_path / "0", dice) as told:
        for size in sorted(dice.sample(range(1_500, WHOLE // 2), 3)):
            assert await told.live(*told.next(), full=size) == Exit.USAGE
            assert "events.jsonl: cannot be written: " in told.err
            assert told.session
            assert (told.session / "events.jsonl").read_bytes() == f"{told.log}\n".encode(), "no part of a fact is left"
            told.kills += 1
        await told.to_the_end()


async def test_a_session_that_may_not_be_written_is_told_and_left_as_it_is(command: Warm, tmp_path: Path) -> None:
    async with story(command, tmp_path / "0", random.Random(1)) as told:
        await told.live(*told.next(), fatal=5)
        assert told.session
        (told.session / "events.jsonl").chmod(0o400)
        before = told.log
        assert await told.live("--quiet", "--continue", str(told.session), plain=True) == Exit.USAGE
        assert "events.jsonl: cannot be written: Permission denied" in told.err
        assert told.log == before


@pytest.mark.parametrize("arguments", [("--quiet", "--continue"), ("verify",), ("replay",), ("sessions", "show")])
async def test_a_session_whose_folder_may_not_be_entered_is_told(
    arguments: tuple[str, ...], command: Warm, tmp_path: Path
) -> None:
    async with story(command, tmp_path / "0", random.Random(1)) as told:
        await told.live(*told.next(), fatal=5)
        session = told.session
        assert session
        session.chmod(0)
        try:
            for name in (str(session), session.name):
                assert await told.live(*arguments, name, plain=True) == Exit.USAGE
                assert session.name in told.err
        finally:
            session.chmod(0o700)


async def test_who_goes_on_with_a_session_that_is_being_written_is_refused(command: Warm, tmp_path: Path) -> None:
    async with story(command, tmp_path / "0", random.Random(1)) as told:
        await told.live(*told.next(), fatal=5)
        assert told.session
        with Log(told.session / "events.jsonl"):
            before = told.log
            for arguments in (
                ["--continue"],
                ["--continue", told.session.name],
                ["--continue", told.session.name, "And?"],
            ):
                assert await told.live("--quiet", *arguments) == Exit.USAGE
                assert "another process is writing this session" in told.err
            assert told.log == before
        told.kills += 1
        await told.to_the_end()


async def test_two_at_once_go_on_with_a_session_once(command: Warm, tmp_path: Path) -> None:
    """Whoever comes second is refused, and asks no model."""
    async with story(command, tmp_path / "0", random.Random(2)) as told:
        await told.live(*told.next(), fatal=5)
        assert told.session
        arguments = ("--quiet", "--continue", str(told.session))
        told.troupe.gate = asyncio.Event()
        with warm() as other:
            environment = {**told.troupe.born(), "MASSGEN_HOME": str(told.folder)}
            other.begin(Order(str(told.folder), arguments, environment))
            await told.troupe.asked.wait()
            assert await told.live(*arguments) == Exit.USAGE
            assert "another process is writing this session" in told.err
            assert told.troupe.life - 1 not in {each.life for each in told.troupe.served}
            told.troupe.gate.set()
            await asyncio.to_thread(other.wait)
            assert other.reap() == Exit.ANSWER
        told.kills += 1
        await told.to_the_end()


# --- a log cut at every byte -----------------------------------------------------------------------------------------

HEADER = b'{"massgen": "session log", "format": 1}\n'
TEAMS = {
    "one": ((),),
    "revised": ((), (Cue("comply"), Cue("ghost", 1, 3.0), Cue("answer", 2, 3.0))),
    "sent back": ((), (Cue("comply"), Cue("comply"), Cue("comply"), Cue("restart"))),
}


def team(cues: Sequence[Sequence[Cue]], log: bytes) -> dict[str, Actor]:
    """Actors that go on where `log` ends: replies that it has are not asked for again."""
    cast = actors(*cues)
    for name, actor in cast.items():
        del actor.cues[: log.count(f'"type":"Said","agent":"{name}"'.encode())]
    return cast


def finished(path: Path, cues: Sequence[Sequence[Cue]]) -> bytes:
    """Ask, or go on with the log at `path`; the log at the end, held against what must be."""
    before = path.read_bytes() if path.exists() else b""
    cast = team(cues, before)
    state = Stage(path, agents(cast), RULES).run()
    data = path.read_bytes()
    assert state.stopped == Stopped("answered")
    assert data.startswith(before)
    made = sum(len(actor.requests) for actor in cast.values())
    assert made == data.count(b'"type":"Said"') - before.count(b'"type":"Said"'), "more was asked than was recorded"
    assert data.count(b'"type":"Spent"') == data.count(b'"type":"Said"'), "every call is paid for once"
    assert verify(read(path), lambda asked: RULES).difference is None
    return data


RULES = Rules(max_restarts=1)


@pytest.mark.parametrize("cues", TEAMS.values(), ids=[*TEAMS])
def test_a_log_cut_at_every_byte_is_finished_without_a_call_that_it_has(cues: Sequence[Sequence[Cue]]) -> None:
    """Where its lines end it goes on; between, it is brought back to there, and what is cut off stands beside it."""
    with folder() as name:
        path = Path(name) / "events.jsonl"
        whole = finished(path, cues)
        calls, brought_back = whole.count(b'"type":"Said"'), set[bytes]()
        for at in range(len(whole)):
            brought_back.add(_brought_back(path, whole[:at]))
        ends = [at for at, byte in enumerate(whole, 1) if byte == ord("\n")]
        assert {len(each) for each in brought_back} < {*ends}, "other than where a line ends"
        for log in brought_back:
            path.write_bytes(log)
            assert finished(path, cues).count(b'"type":"Said"') == calls


def _brought_back(path: Path, content: bytes) -> bytes:
    """What opening makes of a log that holds `content`."""
    torn = path.with_suffix(".torn")
    torn.unlink(missing_ok=True)
    path.write_bytes(content)
    with Log(path):
        log = path.read_bytes()
    aside = torn.read_bytes() if torn.exists() else b""
    kept = content[: len(content) - len(aside)]
    assert content == kept + aside, "what was not whole is kept as it is"
    assert log == (kept or HEADER)
    return log
