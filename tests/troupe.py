"""A scripted provider for a run that is ended over and over: it knows what it was asked and said in which life of the command,
and can end that by `kill -9` at any of its requests.

Every reply holds a number of its own, so a log tells which replies it has. What is said follows from what is asked alone.
"""

import asyncio
import json
import os
import random
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.providers import Call, Reply, call, say

MODELS = ("m1", "m2", "m3")
MOST = 25
"""Replies that a run may take: two attempts; in each, three answers, a revision that voids two votes, five votes, two of them
after a vote for nobody, a presentation; and one check of it."""
KEY = "life"
"""What the key of a request begins with; the number of the life follows."""
_REPLY = re.compile(r"\(reply (\d+)\)")
_ANSWER = re.compile(r"<(agent\d+)>\n(.*)\n</agent\d+>")


@dataclass(frozen=True, slots=True)
class Served:
    """A request, in which life of the command it came, and what it said."""

    life: int
    model: str
    messages: tuple[Mapping[str, Any], ...]
    tools: str

    @property
    def asked(self) -> tuple[str, str, str]:
        return self.model, json.dumps(self.messages), self.tools


@dataclass(slots=True)
class Troupe:
    """A policy: m2 votes for nobody first, m3 revises its answer, the winner sends the first final answer back."""

    dice: random.Random
    served: list[Served] = field(default_factory=list[Served])
    """The request at place n got reply n."""
    life: int = 0
    pid: int = 0
    fatal: int = 0
    """The command is killed at so many requests in this life; 0: at none."""
    delay: float = 0.0
    """Seconds from then."""
    gate: asyncio.Event | None = None
    """Nothing is said before it is set."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at a request that waits for the gate."""

    def born(self, *, fatal: int = 0, delay: float = 0.0) -> dict[str, str]:
        """A life begins, with these variables in its environment."""
        self.life, self.fatal, self.delay = self.life + 1, fatal, delay
        return {"LIFE": f"{KEY}{self.life}"}

    def __call__(self, asked: Call) -> Reply:
        life = int(asked.key.removeprefix(KEY))  # what a process has sent may come when it has ended
        self.served.append(Served(life, asked.model, asked.messages, json.dumps(asked.tools)))
        if life == self.life and self.fatal == sum(each.life == life for each in self.served):
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self._kill, self.life)
            else:
                self._kill(self.life)
        if self.gate:
            self.asked.set()
        reply = _said(asked, f"(reply {len(self.served) - 1})")
        pace, delay = self.dice.choice((0.0, 0.001)), self.dice.random() * 0.004
        return replace(reply, chunks=4, chunk_delay=pace, delay=delay, gate=self.gate)

    def _kill(self, life: int) -> None:
        if life == self.life:
            os.kill(self.pid, signal.SIGKILL)

    def lost(self, life: int, log: str) -> dict[int, Served]:
        """The requests of that life whose replies `log` does not hold, by number."""
        kept = recorded(log)
        return {n: each for n, each in enumerate(self.served) if each.life == life and n not in kept}


def write_team(path: Path, base_url: str) -> None:
    """A configuration for the troupe, whose key tells the life of the command."""
    backend = {"type": "chatcompletion", "base_url": base_url, "api_key": "${LIFE}"}
    agents = [{"id": model, "backend": {**backend, "model": model}} for model in MODELS]
    section = {"coordination": {"max_orchestration_restarts": 1}}
    path.write_text(json.dumps({"agents": agents, "orchestrator": section}))


def recorded(log: str) -> list[int]:
    """The numbers of the replies that a log holds."""
    said = [line for line in log.splitlines() if '"type":"Said"' in line]
    return [int(_REPLY.findall(line)[-1]) for line in said]


def _said(asked: Call, number: str) -> Reply:
    told = "\n".join(json.dumps(message, ensure_ascii=False) for message in asked.messages)
    text = "\n".join(str(message.get("content") or "") for message in asked.messages)
    if "restart_orchestration" in asked.tools:
        return call("restart_orchestration", reason="Thin.", instructions=f"Explain more. {number}")
    if "vote" in asked.tools:
        return _decided(asked.model, dict(_ANSWER.findall(text)), told, number)
    if "new_answer" in asked.tools:
        return call("new_answer", content=f"What {asked.model} thinks. {number}")
    return say(f"The team's answer. {number}")


def _decided(model: str, shown: Mapping[str, str], told: str, number: str) -> Reply:
    better = [label for label, text in shown.items() if "revised" in text]
    if model == "m3" and not better:
        return call("new_answer", content=f"What all of them thought, revised. {number}")
    if model == "m2" and "agent99" not in told:
        return call("vote", agent_id="agent99", reason=f"A slip. {number}")
    return call("vote", agent_id=[*better, *shown][0], reason=f"It is right. {number}")
