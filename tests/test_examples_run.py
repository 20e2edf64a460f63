"""Every template answers a question, end to end: its providers are the loopback simulator, their clients the real ones.

Each model is called in its provider's own API, and the simulator refuses what the provider refuses.
"""

import asyncio
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from massgen import examples
from massgen.config import Config
from massgen.config.loading import load
from massgen.errors import Exit
from massgen.events import ToolReturned
from massgen.log import read
from tests.command import COLD, massgen
from tests.mcp_servers import MODULES
from tests.providers import Call, Hosted, Reply, Simulator, Team, call, say
from tests.test_examples import needs

WIRES = {
    "azure_openai": {"azure", "azure-responses"},
    "claude": {"messages"},
    "gemini": {"gemini"},
    "openai": {"chat", "responses"},
}
"""Which APIs a type of backend may call; all others speak chat completions."""


STARTED = ("claude", "mixed-providers", "openai", "tools/files")
"""Templates whose command is started, and not forked: they load the gateway, no gateway, servers of tools."""
SEARCH = (Hosted("web_search", "capital of France", "https://example.org/paris"),)


USES = {
    "planning/own-plans": call("create_task_plan", tasks=["Find out.", "Write it down."]),
    "planning/team-plan": call("get_ready_tasks"),
    "tools/files": call("mcp__files__list_directory", path="."),
    "tools/functions": call("weekday", year=2026, month=11, day=21),
    "tools/git": call("mcp__git__git_log", repo_path=".", max_count=1),
    "tools/time": call("mcp__time__convert_time", source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo"),
}
"""What the agents of a template with tools use, each once, before they answer."""


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

    Who is offered a web search by its provider has searched; who is to make `use` of a tool does so first."""

    def __init__(self, agents: int, use: Reply | None) -> None:
        self._waiting, self._all, self._team, self._use = agents, asyncio.Event(), Team(final="Paris."), use

    def __call__(self, asked: Call) -> Reply:
        self._waiting -= 1
        if self._waiting == 0:
            self._all.set()
        return replace(self._reply(asked), hosted=SEARCH if asked.hosted else (), gate=self._all)

    def _reply(self, asked: Call) -> Reply:
        if not (asked.schema or {"new_answer", "vote", "submit"} & asked.tools.keys()):
            return say("Paris.")
        first = "vote" not in asked.tools and asked.agent not in self._team.answered
        return self._use if self._use and first and not _used(asked) else self._team(asked)


def _used(asked: Call) -> bool:
    """Whether there is a result of a tool, in the words of either wire."""
    return any("tool" in (each.get("role"), each.get("type")) for each in asked.messages)


def servers(folder: Path) -> str:
    """A PATH on which `uvx` and `npx` start the servers that are installed for the tests."""
    python, bins = sys.executable, MODULES / ".bin"
    programs = {
        "uvx": f"""exec "{python}" -m "$(echo "$1" | tr - _)" """,
        "npx": f"""shift; name=${{1##*/}}; shift; exec "{bins}/mcp-$name" "$@" """,
    }
    for name, does in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{does}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


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


async def committed(folder: Path) -> None:
    """A repository of one commit in `folder`."""
    who = ("-c", "user.name=A", "-c", "user.email=a@b.c")
    for command in (("init", "-q"), (*who, "commit", "-q", "--allow-empty", "-m", "first")):
        git = await asyncio.create_subprocess_exec("git", "-C", str(folder), *command)
        assert await git.wait() == 0


def session(tmp_path: Path) -> Path:
    (log,) = tmp_path.glob("home/data/sessions/*/events.jsonl")
    return log


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("name", "profile"), [*runs()])
async def test_a_template_answers(name: str, profile: str, tmp_path: Path) -> None:
    env = variables(name)
    config = load(examples.path(name), env, profile=profile).config
    use = USES.get(name)
    env = {**env, "PATH": servers(tmp_path)}
    if "git" in config.mcp_servers:
        await committed(tmp_path)
    async with Simulator(Together(len(config.agents), use)) as simulator:
        file = tmp_path / "team.yaml"
        file.write_text(yaml.safe_dump(redirected(config, name, simulator)))
        chosen = ("--profile-name", profile) if profile else ()
        how: dict[str, Any] = {"program": COLD} if name in STARTED else {}
        ran = await massgen(
            "--config", str(file), *chosen, "What is the capital of France?", env=env, seconds=80, cwd=tmp_path, **how
        )
        calls = simulator.calls
    assert (ran.code, ran.out in final_answers(config)) == (Exit.ANSWER, True), ran.err
    assert {record.status for record in calls} == {200}, ran.err
    uses = [each.fact for each in read(session(tmp_path)) if isinstance(each.fact, ToolReturned)]
    assert not any(each.is_error for each in uses), uses
    assert {each.agent for each in uses} == ({*config.named_agents} if use else set())
    if config.orchestrator.first_answers == "independent":
        assert len(calls) == least(config) + len(uses)
    else:
        assert len(calls) >= least(config) + len(uses)
    allowed = [WIRES.get(agent.backend.type, {"chat"}) for agent in config.agents]
    used = {record.wire for record in calls}
    assert used <= set().union(*allowed)
    assert all(used & wires for wires in allowed), "every type of backend was called"
