import json
from datetime import date
from importlib.metadata import version

import pytest

from massgen.backends.providers import PROVIDERS
from massgen.cli import run
from massgen.discovery import DEFAULT_MODELS, price_list
from massgen.errors import Exit
from tests.command import massgen
from tests.providers import Simulator, Team
from tests.test_newcomer import NO_SERVERS

Output = pytest.CaptureFixture[str]
TODAY = date(2026, 11, 21)


def test_the_catalogue_is_listed_with_the_way_to_all_others(capsys: Output) -> None:
    assert run(["models", "list"]) == Exit.ANSWER
    told = capsys.readouterr().out
    assert told.splitlines()[0].split()[:3] == ["smollm2-135m", "135M", "Apache-2.0"]
    assert "massgen models list --provider openai" in told


@pytest.mark.parametrize("flags", [[], ["--provider", "local"]])
def test_the_catalogue_is_for_programs_too(flags: list[str], capsys: Output) -> None:
    assert run(["models", "list", "--json", *flags]) == Exit.ANSWER
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert [name for name, row in rows.items() if row["default"]] == ["qwen2.5-coder-0.5b"]
    assert rows["smollm2-135m"] | {"here": False, "default": False} == rows["smollm2-135m"]
    assert rows["smollm2-135m"]["context"] > 1000


def test_a_providers_models_have_context_price_and_source(capsys: Output) -> None:
    assert run(["models", "list", "--provider", "claude"]) == Exit.ANSWER
    table, _, sources = capsys.readouterr().out.partition("\n\n")
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()}
    assert rows["model"] == ["context", "reply", "$", "in", "$", "out"]
    assert rows["claude-haiku-4-5"] == ["200,000", "64,000", "1", "5"]
    assert [*rows][1:] == sorted([*rows][1:])
    assert f"Source: litellm {version('litellm')} price list, from\n  https://" in sources
    assert "prices in US dollars for a million tokens" in sources


def test_a_providers_models_are_for_programs_too(capsys: Output) -> None:
    assert run(["models", "list", "--provider", "openai", "--json"]) == Exit.ANSWER
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    model = rows["gpt-5.4-mini"]
    assert (model["context"], model["longest_reply"]) == (272_000, 128_000)
    assert (model["input_price"], model["output_price"]) == (0.75, 4.5)
    assert model["source"].startswith("https://")
    assert model["list"] == f"litellm {version('litellm')} price list"


def test_more_pages_than_fit_are_counted(capsys: Output) -> None:
    assert run(["models", "list", "--provider", "azure_openai"]) == Exit.ANSWER
    assert " more pages: --json names that of each model" in capsys.readouterr().out


def test_only_chat_models_that_are_still_served_are_listed() -> None:
    openai = {model.name: model for model in price_list(PROVIDERS["openai"], TODAY)}
    assert not any(word in name for name in openai for word in ("embedding", "whisper", "dall-e", "ft:", "container"))
    ended = {name for name in openai if name in ("o1", "o3-mini")}
    assert ended == set()
    assert "o1" in {model.name for model in price_list(PROVIDERS["openai"], date(2026, 1, 1))}
    assert all(model.ends > "2026-11-21" for model in openai.values() if model.ends)


@pytest.mark.parametrize("kind", ["groq", "gemini", "grok", "together", "fireworks", "zai", "azure_openai"])
def test_names_are_those_that_a_configuration_takes(kind: str) -> None:
    row = PROVIDERS[kind]
    names = [model.name for model in price_list(row, TODAY)]
    assert names
    assert not any(name.startswith(row.litellm_prefix) for name in names)


def test_litellm_lists_all_by_the_names_that_it_takes() -> None:
    names = {model.name for model in price_list(PROVIDERS["litellm"], TODAY)}
    assert {"gemini/gemini-flash-latest", "groq/openai/gpt-oss-120b", "claude-haiku-4-5"} <= names


@pytest.mark.parametrize("kind", [kind for kind in DEFAULT_MODELS if kind != "openrouter"])
def test_the_model_that_init_proposes_is_for_sale(kind: str) -> None:
    models = {model.name: model for model in price_list(PROVIDERS[kind], TODAY)}
    chosen = models[DEFAULT_MODELS[kind]]
    assert chosen.ends is None
    assert (chosen.context or 0) >= 128_000
    assert (chosen.output_price or 0) <= 10


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("opnai", Exit.USAGE, "no provider is called 'opnai'\n  did you mean openai?"),
        ("zzz", Exit.USAGE, "There are: local, chatcompletion"),
        ("chatcompletion", Exit.USAGE, "a backend of type chatcompletion is any server"),
        ("poe", Exit.NO_ANSWER, "price list has no models of Poe (poe)"),
        ("ollama", Exit.NO_ANSWER, "http://127.0.0.1:9/v1: Ollama does not answer (Connection refused)"),
    ],
)
def test_what_cannot_be_listed_is_told(
    kind: str, code: Exit, words: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    for name, address in NO_SERVERS.items():
        monkeypatch.setenv(name, address)
    assert run(["models", "list", "--provider", kind]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err


async def test_a_local_server_is_asked_what_it_has() -> None:
    async with Simulator(Team(), models=("qwen3:4b", "mistral")) as simulator:
        env = {"OLLAMA_API_BASE": simulator.base_url.removesuffix("/v1")}
        ran = await massgen("models", "list", "--provider", "ollama", env=env)
        assert (ran.code, ran.out) == (
            Exit.ANSWER,
            f"qwen3:4b\nmistral\n\nSource: Ollama at {simulator.base_url}\n",
        )
        ran = await massgen("models", "list", "--provider", "ollama", "--json", env=env)
        assert [row["name"] for row in json.loads(ran.out)] == ["qwen3:4b", "mistral"]
    async with Simulator(Team(), models=()) as simulator:
        ran = await massgen("models", "list", "--provider", "vllm", env={"HOSTED_VLLM_API_BASE": simulator.base_url})
        assert (ran.code, ran.out) == (Exit.ANSWER, f"\nvLLM at {simulator.base_url} lists no models.\n")


LOADED = "import sys; from massgen.cli import run; run(['models', 'list', '--provider', 'claude']); print(*sys.modules, file=sys.stderr)"


async def test_litellm_is_read_and_not_imported() -> None:
    ran = await massgen("-c", LOADED, program=())
    assert "claude-haiku-4-5" in ran.out
    assert not {"litellm", "openai", "aiohttp", "mcp"} & {*ran.err.split()}
