"""Whatever ends the command, and whenever: `massgen --continue` finishes the run, and pays for no reply again that it has."""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from massgen.errors import Exit
from tests.command import write_config
from tests.providers import Simulator
from tests.troupe import MODELS, MOST, Troupe, recorded
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
    """One question, from the first life of the command to the one that brings the answer."""

    command: Warm
    troupe: Troupe
    folder: Path
    dice: random.Random
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
        """The session in which the question stands."""
        logs = self.folder.glob("data/sessions/*/events.jsonl")
        return next((log.parent for log in logs if '"type":"Asked"' in _whole(log)), None)

    @property
    def log(self) -> str:
        return _whole(self.session / "events.jsonl") if self.session else ""

    async def live(self, *arguments: str, fatal: int = 0, delay: float = 0.0, size: int = 0, cpu: float = 0.0) -> int:
        """One life of the command; how it ended."""
        self.troupe.born(fatal=fatal, delay=delay)
        home = {"MASSGEN_HOME": str(self.folder)}
        self.troupe.pid = self.command.begin(Order(str(self.folder), arguments, home, size, cpu))
        code = await asyncio.to_thread(self.command.end)
        self.troupe.born()
        assert not re.search(r"Traceback|defect|Task ", self.err), self.err
        self.codes.append(code)
        return code

    async def deadly(self) -> bool:
        """A life that ends at a random point; whether it did not come to its own end before."""
        before, size = self.log, len(self.log)
        left = max(0.1, 1 - size / WHOLE)
        match self.dice.randrange(3):
            case 0:
                delay, fatal = self.dice.choice((0.0, self.dice.random() * 0.01)), self.dice.randint(1, int(left * 20))
                ended = await self.live(*self._next(), fatal=fatal, delay=delay)
            case 1:
                ended = await self.live(*self._next(), size=size + self.dice.randint(1, int(left * WHOLE)))
            case _:
                ended = await self.live(*self._next(), cpu=self.dice.random() * CPU)
        assert self.log.startswith(before), "what was recorded stays"
        self.kills += ended < 0
        self._check_lost(ended)
        return ended < 0

    def _next(self) -> list[str]:
        """Ask, or go on, in one of the ways to say so."""
        if self.session is None:
            return ["--config", "team.yaml", "--quiet", "Why is the sky blue?"]
        return ["--quiet", "--continue", *self.dice.choice(([], [self.session.name], [str(self.session)]))]

    def _check_lost(self, ended: int) -> None:
        """What was asked and is not in the log was under way when the process was ended: a call of each agent at most."""
        lost = self.troupe.lost(self.troupe.life - 1, self.log)
        models = Counter(each.model for each in lost.values())
        assert not models or (ended < 0 and max(models.values()) == 1), f"not recorded: {lost}"

    async def to_the_end(self) -> None:
        """Go on until there is an answer, and hold the whole story against what must be."""
        over = '"type":"Stopped"' in self.log
        code = await self.live(*self._next())
        if over:  # the answer may not have been told
            assert code == Exit.USAGE
            assert "the last question of the session is answered" in self.err
            assert await self.live("replay", "--speed", "instant", str(self.session)) == Exit.ANSWER
        else:
            assert (code, self.err) == (Exit.ANSWER, "")
        facts: list[dict[str, Any]] = [json.loads(line) for line in self.log.splitlines()[1:]]
        assert self.out == next(fact["content"] for fact in reversed(facts) if fact["type"] == "Presented")
        self._check_calls()
        _check_turns(facts)
        assert self.session
        assert await self.live("verify", str(self.session)) == Exit.ANSWER, self.out
        assert f"{len(facts):,} facts agree with the rules\n" in f"{self.out}\n"

    def _check_calls(self) -> None:
        kept, served = recorded(self.log), self.troupe.served
        assert len(kept) == len({*kept}) <= MOST, "a reply was recorded twice, or more than a run can take"
        assert len(served) - len(kept) <= len(MODELS) * self.kills, "more was asked than was needed and was under way"
        last = {each.asked: number for number, each in enumerate(served)}
        again = [served[number] for number in kept if last[served[number].asked] != number]
        assert not again, "what was asked again had been answered"
        for number in {*range(len(served))} - {*kept}:
            asked = served[number]
            after = next(each for each in served[number + 1 :] if each.model == asked.model)
            assert after.messages[: len(asked.messages)] == asked.messages, "the turn was not taken up where it stopped"


def _whole(log: Path) -> str:
    """All lines of it that have their ends."""
    return log.read_bytes().rpartition(b"\n")[0].decode()


def _check_turns(facts: list[dict[str, Any]]) -> None:
    """Every turn begins once, however often it was taken up; what was said in it, and paid, stays its own."""
    kinds = Counter(fact["type"] for fact in facts)
    assert (kinds["Asked"], kinds["Stopped"], kinds["TurnFailed"], kinds["Evaluated"]) == (1, 1, 0, 1), kinds
    begun = Counter((fact["agent"], fact["purpose"]) for fact in facts if fact["type"] == "TurnBegan")
    assert {begun[model, "answer"] for model in MODELS} == {2}, begun
    assert (begun["m3", "present"], begun["m3", "evaluate"]) == (2, 1), begun


async def test_an_undisturbed_run_is_as_long_as_is_said_here(command: Warm, tmp_path: Path) -> None:
    """So that the kills of the other tests fall where something happens."""
    troupe = Troupe(random.Random(0))
    async with Simulator(troupe) as simulator:
        write_config(tmp_path / "team.yaml", simulator.base_url, orchestrator=SECTION)
        story = Story(command, troupe, tmp_path, random.Random(0))
        await story.to_the_end()
    assert 20 <= len(troupe.served) <= MOST
    assert WHOLE / 2 < len(story.log) < WHOLE * 1.2


SECTION = {"coordination": {"max_orchestration_restarts": 1}}


@pytest.mark.parametrize("seed", range(5))
async def test_after_kill_9_at_twenty_random_points_every_run_is_finished(
    seed: int, command: Warm, tmp_path: Path
) -> None:
    dice, kills = random.Random(seed), 0
    while kills < KILLS:
        troupe, folder = Troupe(dice), tmp_path / f"{kills}-{dice.random()}"
        folder.mkdir()
        async with Simulator(troupe) as simulator:
            write_config(folder / "team.yaml", simulator.base_url, orchestrator=SECTION)
            story = Story(command, troupe, folder, dice)
            for _ in range(dice.randint(1, 5)):
                if not await story.deadly():
                    break
            await story.to_the_end()
        kills += story.kills
