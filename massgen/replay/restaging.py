"""Agents that replay recordings, in a team of today."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from massgen import sessions
from massgen.agents import Act, Agent, Turn
from massgen.backends.conductor import Conductor
from massgen.backends.replay import Replayed, ReplayedScorer
from massgen.config import Config
from massgen.errors import ConfigError, LogError, UsageError
from massgen.events import Member
from massgen.orchestrator import Timer, until
from massgen.replay.recorded_tools import RecordedBox, Used
from massgen.replay.recordings import Late, Recording, load
from massgen.replay.retaking import agent_like, small


@dataclass(slots=True)
class Restaging:
    """The recordings that agents of `config` replay, each read once; `env` is for variables in what they were told."""

    config: Config
    env: Mapping[str, str]
    _recordings: dict[Path, Recording] = field(default_factory=dict[Path, Recording])
    _conductors: dict[Path, Conductor] = field(default_factory=dict[Path, Conductor])

    def agent(self, name: str) -> tuple[Agent, Member]:
        """The agent that the configuration calls `name`, and which one of the recording it is.

        Raises `ConfigError` where there is no such session or agent, or it cannot be read."""
        settings = self.config.named_agents[name].backend
        folder, recorded = self._folder(name), settings.agent or name
        recording = self._read(folder)
        if (member := recording.members.get(recorded)) is None:
            known = ", ".join(recording.members)
            raise ConfigError([f"{folder}: the session has no agent {recorded!r}; write `agent:`, one of {known}"])
        conductor = self._conductor(folder)
        kind = ReplayedScorer if small(member) else Replayed
        seat = recorded if conductor.exact else name
        model, calls = settings.model or member.model, recording.calls.get(recorded, ())
        backend = kind(recording.where, recorded, model, calls, conductor, seat)
        own = self.config.instructions(self.config.named_agents[name])
        box = RecordedBox(recording.uses.get(recorded, ()), partial(_reach, conductor, seat))
        agent = agent_like(member, name, backend, own, self.config.orchestrator.voting_sensitivity, box)
        return _Replaying(agent, seat, conductor, recording.late), member

    @property
    def dice(self) -> random.Random:
        """What puts ballots into the order that was recorded, if all that is replayed is of one session."""
        found = [*self._recordings.values()]
        return Dice(found[0].ballots) if len(found) == 1 else random.Random()

    @property
    def timer(self) -> Timer:
        """What lets time run out when it did, if a whole team is replayed."""
        exact = [conductor for conductor in self._conductors.values() if conductor.exact]
        seats = {name: agent.backend.agent or name for name, agent in self.config.named_agents.items()}
        return (lambda what, agent, when: exact[0].limit(what, seats.get(agent, ""), when)) if exact else until

    def _folder(self, name: str) -> Path:
        try:
            return sessions.find(self.config.named_agents[name].backend.session).resolve()
        except UsageError as error:
            raise ConfigError([str(error)]) from None

    def _read(self, folder: Path) -> Recording:
        if folder not in self._recordings:
            try:
                self._recordings[folder] = load(folder, self.env)
            except LogError as error:
                raise ConfigError([str(error)]) from None
        return self._recordings[folder]

    def _conductor(self, folder: Path) -> Conductor:
        """One for all that replay the same session; it can be exact if they are its whole team, and each is there once."""
        if folder not in self._conductors:
            agents = self.config.named_agents.items()
            cast = sorted(each.backend.agent or name for name, each in agents if self._is_of(folder, name))
            recording, whole = self._recordings[folder], len(cast) == len(agents)
            self._conductors[folder] = Conductor(recording.breaths, exact=whole and cast == sorted(recording.members))
        return self._conductors[folder]

    def _is_of(self, folder: Path, name: str) -> bool:
        try:
            return self.config.named_agents[name].backend.type == "replay" and self._folder(name) == folder
        except ConfigError:  # told where that agent is built
            return False


async def _reach(conductor: Conductor, seat: str, use: Used) -> bool:
    return await conductor.reach(seat, use.place, question=use.question, timed=use.timed)


@dataclass(frozen=True, slots=True)
class _Replaying:
    """`agent`, which begins its turns as late as the recorded one did."""

    agent: Agent
    seat: str
    conductor: Conductor
    late: Mapping[int, Late]

    @property
    def id(self) -> str:
        return self.agent.id

    async def turn(self, turn: Turn) -> Act:
        if late := self.late.get(turn.seq):
            await self.conductor.reach(self.seat, late.place, question=late.question)
        return await self.agent.turn(turn)

    async def aclose(self) -> None:
        await self.agent.aclose()


class Dice(random.Random):
    """Shuffles ballots into the orders that were recorded; others by chance."""

    def __init__(self, ballots: Sequence[Sequence[tuple[int, ...]]]) -> None:
        super().__init__()
        self._ballots = [*ballots]

    def shuffle(self, x: Any) -> None:
        """The next ballot of the same answers; if the log has other numbers, the next that looks the same."""
        entries = sorted(x)
        alike = [each for each in self._ballots if [*map(len, sorted(each))] == [*map(len, entries)]]
        known = next((each for each in alike if sorted(each) == entries), next(iter(alike), None))
        if known is None:
            super().shuffle(x)
        else:
            self._ballots.remove(known)
            ranks = sorted(known)
            x[:] = [entries[ranks.index(entry)] for entry in known]
