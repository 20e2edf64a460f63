"""Every template answers a question, end to end: its providers are the loopback simulator, their clients the real ones."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from massgen import examples
from massgen.backends.providers import PROVIDERS
from massgen.errors import Exit
from massgen.loading import load
from tests.command import massgen
from tests.providers import Simulator, Team
from tests.test_examples import needs

REMOTE = [name for name in examples.names() if "type: local" not in examples.path(name).read_text()]


def redirected(name: str, base_url: str, env: dict[str, str]) -> dict[str, Any]:
    """The template, its models where the simulator is. What litellm would translate goes through it as OpenAI's wire."""
    source = yaml.safe_load(yaml.safe_dump(load(examples.path(name), env).source))
    for agent in source["agents"]:
        backend = {**agent["backend"], "base_url": base_url}
        if PROVIDERS[backend["type"]].wire == "gateway":
            backend |= {"type": "litellm", "model": f"openai/{backend['model']}"}
        agent["backend"] = backend
    return source


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", REMOTE)
async def test_a_template_answers(name: str, tmp_path: Path) -> None:
    async with Simulator(Team(final="Paris.")) as simulator:
        env = {var: simulator.base_url if var.endswith("_URL") else "sk-0123456789" for var in needs(name)}
        config = tmp_path / "team.yaml"
        config.write_text(yaml.safe_dump(redirected(name, simulator.base_url, env)))
        ran = await massgen("--config", str(config), "What is the capital of France?", env=env, seconds=80)
        team = load(config, env).config
        agents, checks = len(team.agents), bool(team.orchestrator.coordination.max_orchestration_restarts)
        assert (ran.code, ran.out) == (Exit.ANSWER, "Paris.\n"), ran.err
        assert len(simulator.calls) == (1 if agents == 1 else 2 * agents + 1) + checks
