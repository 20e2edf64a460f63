"""A team without a file: what the options on the command line stand for."""

import pytest

from massgen.config.loading import parse
from massgen.errors import ConfigError, UsageError
from massgen.models import catalogue
from massgen.quick import TYPES, quick


def backends(*models: str, **options: str) -> list[dict[str, str]]:
    return [agent["backend"] for agent in quick(models, **options)["agents"]]


@pytest.mark.parametrize(
    ("name", "kind", "model"),
    [
        ("gpt-5-mini", "openai", "gpt-5-mini"),
        ("o4-mini", "openai", "o4-mini"),
        ("o1", "openai", "o1"),
        ("chatgpt-4o-latest", "openai", "chatgpt-4o-latest"),
        ("claude-sonnet-4-5", "claude", "claude-sonnet-4-5"),
        ("gemini-2.5-flash", "gemini", "gemini-2.5-flash"),
        ("grok-4", "grok", "grok-4"),
        (catalogue()[0].name, "local", catalogue()[0].name),
        ("openrouter/anthropic/claude-sonnet-4.5", "openrouter", "anthropic/claude-sonnet-4.5"),
        ("ollama/llama3.2:3b", "ollama", "llama3.2:3b"),
        ("openai/gpt-oss-120b", "openai", "gpt-oss-120b"),
    ],
)
def test_a_models_name_says_who_serves_it(name: str, kind: str, model: str) -> None:
    assert backends(name) == [{"type": kind, "model": model}]


@pytest.mark.parametrize("name", ["gpt-oss-20b", "llama3", "meta-llama/Llama-3", "oracle", "ollama/", "/x"])
def test_a_name_that_many_may_serve_asks_for_the_backend_and_lists_them(name: str) -> None:
    with pytest.raises(UsageError, match="--backend TYPE") as refused:
        quick([name])
    assert all(kind in refused.value.fix for kind in TYPES)
    assert repr(name) in refused.value.what


def test_with_a_backend_or_an_address_a_name_is_taken_as_it_is() -> None:
    assert backends("openai/gpt-5", backend="openrouter") == [{"type": "openrouter", "model": "openai/gpt-5"}]
    url = "http://localhost:8000/v1"
    assert backends("openai/gpt-oss-20b", base_url=url) == [
        {"type": "chatcompletion", "model": "openai/gpt-oss-20b", "base_url": url}
    ], "an address alone is sent no provider's key"


def test_each_model_is_an_agent_with_the_same_instructions_and_no_model_is_the_backends_own() -> None:
    team = quick(["gpt-5", "claude-x", "gpt-5"], system_message="Be brief.")
    assert [agent["backend"]["model"] for agent in team["agents"]] == ["gpt-5", "claude-x", "gpt-5"]
    assert {agent["system_message"] for agent in team["agents"]} == {"Be brief."}
    assert [*parse(team, {}).config.named_agents] == ["agent1", "agent2", "agent3"]
    assert quick(backend="local") == {"agents": [{"backend": {"type": "local"}}]}


def test_instructions_alone_name_nobody_to_follow_them() -> None:
    with pytest.raises(UsageError, match="--model NAME"):
        quick(system_message="Be brief.")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"backend": "opnai"}, "did you mean 'openai'"),
        ({"backend": "openai"}, "model: missing"),
        ({"backend": "openai", "base_url": "localhost"}, "is no address"),
    ],
)
def test_the_checks_of_a_file_hold_here_too(options: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse(quick(**options), {})
