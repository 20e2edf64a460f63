"""`massgen init` by flags alone, as a script calls it."""

from pathlib import Path

import pytest
import yaml

from massgen.backends.providers import PROVIDERS
from massgen.cli import run
from massgen.config import BackendType
from massgen.config.loading import load
from massgen.discovery import DEFAULT_MODELS
from massgen.errors import Exit
from massgen.examples import parse_header
from tests.command import massgen
from tests.providers import Simulator, Team
from tests.test_newcomer import NO_SERVERS

pytestmark = pytest.mark.timeout(60)
KEY = "sk-very-secret-0123456789"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "home" / "config" / "config.yaml"


CLOSED = "import os, sys; os.close(0); os.execv(sys.executable, [sys.executable, '-m', 'massgen', 'init'])"


@pytest.mark.parametrize("program", [("-m", "massgen", "init"), ("-c", CLOSED)])
async def test_without_a_terminal_the_flags_that_would_do_are_named(tmp_path: Path, program: tuple[str, ...]) -> None:
    ran = await massgen(program=program)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "there is no terminal to ask on" in ran.err
    assert all(flag in ran.err for flag in ("--backend", "--model", "--agents", "--output", "--question", "--yes"))
    assert not (tmp_path / "home").exists()


async def test_yes_takes_the_provider_whose_key_is_set_and_spends_nothing(written: Path) -> None:
    ran = await massgen("init", "--yes", env={"ANTHROPIC_API_KEY": KEY, **NO_SERVERS})
    assert (ran.code, ran.out) == (Exit.ANSWER, "")
    assert f'wrote {written}\nmassgen: then ask: massgen "What is the capital of France?"' in ran.err
    config = load(written, {"ANTHROPIC_API_KEY": KEY}).config
    assert {(each.backend.type, each.backend.model) for each in config.agents} == {("claude", "claude-haiku-5-5")}
    assert KEY not in written.read_text() + ran.err


async def test_a_key_in_a_env_file_is_found_and_never_written(tmp_path: Path, written: Path) -> None:
    (tmp_path / ".env").write_text(f"GROQ_API_KEY={KEY}\n")
    await massgen("init", "--yes", env=NO_SERVERS)
    assert "api_key: ${GROQ_API_KEY}" in written.read_text()
    assert all(KEY not in path.read_text() for path in (tmp_path / "home").rglob("*") if path.is_file())


async def test_the_first_question_is_asked_of_what_was_written(written: Path) -> None:
    async with Simulator(Team(final="Paris."), models=("loaded",)) as simulator:
        env = {**NO_SERVERS, "HOSTED_VLLM_API_BASE": simulator.base_url}
        ran = await massgen("init", "--yes", "--question", "-v what?", "--agents", "2", env=env)
        assert (ran.code, ran.out) == (Exit.ANSWER, "Paris.\n"), ran.err
        assert len(simulator.calls) == 5
    assert "model: loaded\n" in written.read_text()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--backend", "opnai"), "no provider is called 'opnai'\n  did you mean openai?"),
        (("--backend", "zzzz"), "There are: local, chatcompletion, openai"),
        (("--backend", "azure_openai", "--model", "m"), "no address for Azure OpenAI"),
        (("--backend", "chatcompletion", "--base-url", "http://127.0.0.1:9/v1"), "Name one: --model NAME."),
        (("--backend", "openai", "--base-url", "nowhere"), "'nowhere' is no address"),
        (("--backend", "openai", "--model", "${HOME_OF_NONE}"), "the variable HOME_OF_NONE is not set"),
        (("--backend", "local", "--model", "smollm"), "did you mean 'smollm2-135m'?"),
        (("--backend", "openai", "--agents", "6"), "6 is not in the range 1<=x<=5"),
        (("--backend", "openai", "--output", "/dev/null/x.yaml"), "/dev/null/x.yaml"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    ran = await massgen("init", *flags, env=NO_SERVERS)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert [*tmp_path.rglob("*.yaml")] == []


async def test_a_file_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text("mine")
    flags = ("init", "--backend", "openai", "--output", "team.yaml")
    ran = await massgen(*flags, env=NO_SERVERS)
    assert (ran.code, (tmp_path / "team.yaml").read_text()) == (Exit.USAGE, "mine")
    assert "team.yaml: there is a file already\n  Name another by --output, or give --force." in ran.err

    ran = await massgen(*flags, "--force", env=NO_SERVERS)
    assert ran.code == Exit.ANSWER
    assert "type: openai" in (tmp_path / "team.yaml").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["team.yaml"]


async def test_a_provider_without_a_key_is_configured_and_the_way_to_a_key_told(tmp_path: Path) -> None:
    ran = await massgen("init", "--backend", "gemini", "--output", "team.yaml", env=NO_SERVERS)
    assert ran.code == Exit.ANSWER
    assert "set GEMINI_API_KEY before you ask, in the environment or in a file .env" in ran.err
    assert "https://aistudio.google.com/apikey" in ran.err


async def test_an_address_in_a_variable_stays_there(tmp_path: Path) -> None:
    env = {"AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com", "AZURE_API_KEY": KEY, **NO_SERVERS}
    ran = await massgen("init", "--backend", "azure_openai", "--model", "m", "--output", "team.yaml", env=env)
    assert ran.code == Exit.ANSWER
    text = (tmp_path / "team.yaml").read_text()
    assert "Needs: the variables AZURE_OPENAI_ENDPOINT and AZURE_API_KEY, in the environment" in text
    backend = load(tmp_path / "team.yaml", env).config.agents[0].backend
    assert backend.base_url == "https://mine.openai.azure.com"
    assert backend.api_key
    assert backend.api_key.get_secret_value() == KEY
    assert KEY not in text


async def test_a_server_that_does_not_run_yet_is_configured_and_told(tmp_path: Path) -> None:
    ran = await massgen("init", "--backend", "lmstudio", "--output", "team.yaml", env=NO_SERVERS)
    assert ran.code == Exit.ANSWER
    assert "LM Studio lists no model now: start it, and load one, before you ask" in ran.err
    assert "\n      model:" not in (tmp_path / "team.yaml").read_text()


BUSY = "import sys; sys.modules['xllamacpp'] = None; from massgen.cli import run; sys.exit(run(sys.argv[1:]))"


async def test_where_nothing_is_found_yes_is_not_enough(tmp_path: Path) -> None:
    """Python says that a module is not there by None in its list: a machine without the embedded model's runtime."""
    ran = await massgen("-c", BUSY, "init", "--yes", program=(), env=NO_SERVERS)
    assert ran.code == Exit.USAGE
    assert "found nothing to think with" in ran.err
    assert "Set the key of a provider" in ran.err


@pytest.mark.parametrize("kind", sorted(PROVIDERS.keys() - {"replay"}))
def test_what_is_written_loads_and_says_why(kind: BackendType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, address in NO_SERVERS.items():
        monkeypatch.setenv(name, address)
    row = PROVIDERS[kind]
    flags = ["--model", "some: model"] if kind not in {"local", *DEFAULT_MODELS} else []
    flags += ["--base-url", "http://127.0.0.1:9/v1"] if row.needs_base_url else []
    assert run(["init", "--backend", kind, "--output", "team.yaml", "--agents", "5", *flags]) == Exit.ANSWER

    text = (tmp_path / "team.yaml").read_text()
    config = load(tmp_path / "team.yaml", dict.fromkeys(row.key_variables, KEY)).config
    head = parse_header(text)
    assert [*config.named_agents] == ["ada", "bob", "cy", "dee", "eli"]
    assert len({each.backend.model for each in config.agents}) == 1
    assert config.agents[0].backend.model == (
        DEFAULT_MODELS.get(kind) or ("qwen2.5-coder-0.5b" if kind == "local" else "some: model")
    )
    assert head.purpose.startswith("five agents on ")
    assert all(name in head.needs for name in row.key_variables[:1])
    assert head.cost == "11 model calls a question, if nobody revises an answer"
    assert head.attempt == 'massgen --config team.yaml "What is the capital of France?"'
    assert all(
        str(value) in text for value in yaml.safe_load(text)["agents"][0]["backend"].values() if value != "some: model"
    )
