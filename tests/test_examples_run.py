"""Every template answers a question, end to end: its providers are the loopback simulator, their clients the real ones.

Each model is called in its provider's own API, and the simulator refuses what the provider refuses.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from massgen import examples
from massgen.config import Config
from massgen.errors import Exit
from massgen.loading import load
from tests.command import massgen
from tests.providers import Call, Hosted, Reply, Simulator, Team
from tests.test_examples import needs

WIRES = {
    "azure_openai": {"azure", "azure-responses"},
    "claude": {"messages"},
    "gemini": {"gemini"},
    "openai": {"chat", "responses"},
}
"""Which APIs a type of backend may call; all others speak chat completions."""


SEARCH = (Hosted("web_search", "capital of France", "https://example.org/paris"),)


def chain(name: str) -> Iterator[str]:
    """The template and those it extends."""
    yield name
    if below := re.search(r"^extends: (?:@examples/)?([\w-]+)", examples.path(name).read_text(), re.MULTILINE):
        yield from chain(below[1])


def runs() -> Iterator[tuple[str, str]]:
    """Each template that no embedded model answers, without a profile and with each that it has."""
    for name in examples.names():
        texts = [examples.path(each).read_text() for each in chain(name)]
        if not any("type: local" in text for text in texts):
            profiles = [profile for text in texts for profile in yaml.safe_load(text).get("profiles", ())]
            yield from ((name, profile) for profile in ("", *profiles))


def redirected(config: Config, name: str, simulator: Simulator) -> dict[str, Any]:
    """A configuration that extends the template and moves its models to where the simulator is."""
    agents = [
        {**({"id": agent.id} if agent.id else {}), "backend": {"base_url": simulator.address(agent.backend.type)}}
        for agent in config.agents
    ]
    return {"extends": f"@examples/{name}", "agents": agents}


class Together:
    """A team of which nobody replies before all have asked, lest the number of calls be a matter of speed.

    Who is offered a web search by its provider has searched."""

    def __init__(self, agents: int) -> None:
        self._waiting, self._all, self._team = agents, asyncio.Event(), Team(final="Paris.")

    def __call__(self, asked: Call) -> Reply:
        self._waiting -= 1
        if self._waiting == 0:
            self._all.set()
        return replace(self._team(asked), hosted=SEARCH if asked.hosted else (), gate=self._all)


def least(config: Config) -> int:
    """The calls of a team in which nobody revises: answers, votes, the final answer and its check."""
    agents, rules = len(config.agents), config.orchestrator
    if agents == 1:
        return 1
    votes = 0 if rules.skip_voting else agents
    final = rules.final_answer_strategy == "winner_present"
    return agents + votes + final + bool(rules.coordination.max_orchestration_restarts)


def final_answers(config: Config) -> set[str]:
    """What may be on stdout: the presentation, or an answer as it stands."""
    if config.orchestrator.final_answer_strategy == "winner_present":
        return {"Paris.\n"}
    return {f"The answer of {agent.backend.model}.\n" for agent in config.agents}


def variables(name: str) -> Mapping[str, str]:
    """What the template needs; the addresses are replaced."""
    every = {variable for each in chain(name) for variable in needs(each)}
    return {each: "http://localhost:1" if each.endswith(("_URL", "_ENDPOINT")) else "sk-0123456789" for each in every}


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("name", "profile"), [*runs()])
async def test_a_template_answers(name: str, profile: str, tmp_path: Path) -> None:
    env = variables(name)
    config = load(examples.path(name), env, profile=profile).config
    async with Simulator(Together(len(config.agents))) as simulator:
        file = tmp_path / "team.yaml"
        file.write_text(yaml.safe_dump(redirected(config, name, simulator)))
        chosen = ("--profile-name", profile) if profile else ()
        ran = await massgen("--config", str(file), *chosen, "What is the capital of France?", env=env, seconds=80)
        calls = simulator.calls
    assert (ran.code, ran.out in final_answers(config)) == (Exit.ANSWER, True), ran.err
    assert {record.status for record in calls} == {200}, ran.err
    if config.orchestrator.first_answers == "independent":
        assert len(calls) == least(config)
    else:
        assert len(calls) >= least(config)
    allowed = [WIRES.get(agent.backend.type, {"chat"}) for agent in config.agents]
    used = {record.wire for record in calls}
    assert used <= set().union(*allowed)
    assert all(used & wires for wires in allowed), "every type of backend was called"
