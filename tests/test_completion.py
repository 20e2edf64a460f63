"""What shells complete: a real bash at a real terminal; zsh and fish by the requests that their scripts send."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from massgen import examples
from massgen.cli import COMMANDS, run
from massgen.config import BackendType
from massgen.errors import Exit
from tests.command import massgen
from tests.test_newcomer import Keyboard, keyboard

pytestmark = pytest.mark.timeout(60)
Ask = Callable[..., list[str]]


@pytest.fixture
def zsh(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """What zsh is offered for the last of `words`, with its descriptions where they are asked for."""

    def ask(*words: str, described: bool = False) -> list[str]:
        monkeypatch.setenv("_MASSGEN_COMPLETE", "zsh_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["massgen", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        assert run([]) == Exit.ANSWER
        told = capsys.readouterr()
        assert told.err == ""
        lines = told.out.removesuffix("\n").split("\n")
        triples = list(zip(lines[::3], lines[1::3], lines[2::3], strict=False))
        return [f"{kind} {value}: {what}" if described else f"{kind} {value}" for kind, value, what in triples]

    return ask


def test_the_first_word_may_be_a_command(zsh: Ask) -> None:
    assert zsh("") == [f"plain {name}" for name in COMMANDS]
    assert zsh("mo") == ["plain models"]
    assert zsh("--no-display", "mo") == []


def test_options_are_offered_with_what_they_do(zsh: Ask) -> None:
    assert "plain --config: The team: a YAML file" in "\n".join(zsh("--c", described=True))
    assert "plain --provider" in zsh("models", "list", "--p")
    assert {"plain --yes", "plain --force"} <= {*zsh("init", "--")}


@pytest.mark.parametrize("typed", [["--config", "@examples/qui"], ["-c", "@examples/qui"], ["--config=@examples/qui"]])
def test_a_configuration_is_a_template(zsh: Ask, typed: list[str]) -> None:
    assert zsh(*typed) == ["plain @examples/quickstart"]


def test_a_configuration_is_a_template_or_a_file(zsh: Ask) -> None:
    templates = [f"plain @examples/{name}" for name in examples.names()]
    assert zsh("--config", "") == [*templates, "file "]
    assert zsh("--config", "@") == templates
    assert zsh("--config", "te") == ["file te"]
    assert zsh("config", "show", "te") in (["file te"], [])


def test_words_of_a_fixed_choice_are_offered(zsh: Ask) -> None:
    types = [f"plain {kind}" for kind in get_args(BackendType)]
    assert sorted(zsh("models", "list", "--provider", "")) == sorted(zsh("init", "--backend", "")) == sorted(types)
    assert zsh("init", "--backend", "cl") == ["plain claude"]
    assert zsh("examples", "show", "quick") == zsh("examples", "copy", "quick") == ["plain quickstart"]
    assert "plain smollm2-135m: SmolLM2" in zsh("models", "pull", "smol", described=True)[0]
    assert zsh("completion", "") == ["plain bash", "plain zsh", "plain fish"]


def test_profiles_are_those_of_the_configuration_that_is_named(zsh: Ask, tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text("profiles: {dev: {}, prod: {}}\nagents: []\n")
    (tmp_path / "plain.yaml").write_text("agents: [")
    assert zsh("--config", "team.yaml", "--profile-name", "") == ["plain dev", "plain prod"]
    assert zsh("--config", "team.yaml", "--profile-name", "p") == ["plain prod"]
    assert zsh("--config", "@examples/quickstart", "--profile-name", "") == []
    for nothing in ("plain.yaml", "no-such.yaml", "@examples/zzz", "."):
        assert zsh("--config", nothing, "--profile-name", "") == []


@pytest.mark.parametrize("words", [["what is"], ["--no-such-option", ""], ["--timeout", "x"]])
def test_where_nothing_fits_nothing_is_said(zsh: Ask, words: list[str]) -> None:
    assert zsh(*words) == []


def test_fish_sends_the_line_and_the_word_at_the_cursor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_MASSGEN_COMPLETE", "fish_complete")
    monkeypatch.setenv("COMP_WORDS", "massgen --config @examples/quick")
    monkeypatch.setenv("COMP_CWORD", "@examples/quick")
    assert run([]) == Exit.ANSWER
    value, told = capsys.readouterr().out.rstrip("\n").split("\t")
    assert value == "plain,@examples/quickstart"
    assert told == examples.header("quickstart").purpose


@pytest.mark.parametrize(
    ("line", "replaced", "offered"),
    [
        ("massgen --config @examples/qui", "examples/qui", "plain,examples/quickstart"),
        ("massgen --config=@examples/qui", "examples/qui", "plain,examples/quickstart"),
        ('massgen --config "@examples/qui', '"@examples/qui', "plain,@examples/quickstart"),
        ("massgen init --backend=", "", "plain,local"),
        ("massgen models ", "", "plain,list"),
        ("massgen mod", "mod", "plain,models"),
    ],
)
def test_bash_is_offered_what_replaces_the_part_it_asks_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, replaced: str, offered: str
) -> None:
    monkeypatch.setenv("_MASSGEN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", replaced)
    assert run([]) == Exit.ANSWER
    assert capsys.readouterr().out.splitlines()[0] == offered


@pytest.mark.parametrize("instruction", ["tcsh_complete", "bash_source", "1"])
def test_a_request_of_no_known_shell_is_refused(monkeypatch: pytest.MonkeyPatch, instruction: str) -> None:
    monkeypatch.setenv("_MASSGEN_COMPLETE", instruction)
    assert run(["what is the capital of France?"]) == Exit.NO_ANSWER


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_script_and_takes_it(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["completion", shell]) == Exit.ANSWER
    script = capsys.readouterr().out
    assert f"_MASSGEN_COMPLETE={shell}_complete" in script
    if program := shutil.which(shell):  # bash always; the others where they are installed
        (tmp_path / "script").write_text(script)
        subprocess.run([program, "-n", "script"], check=True, timeout=30)


async def test_a_shell_of_another_name_is_refused_with_those_there_are() -> None:
    ran = await massgen("completion", "tcsh")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "'bash', 'zsh', 'fish'" in ran.err


LOADED = "import sys; from massgen.cli import run; run([]); print(*sys.modules, file=sys.stderr)"


async def test_completing_loads_nothing_that_a_run_needs() -> None:
    for line in ("massgen ", "massgen --config @", "massgen init --backend "):
        env = {"_MASSGEN_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": ""}
        ran = await massgen("-c", LOADED, program=(), env=env)
        assert ran.out
        assert not {"litellm", "mcp", "rich.live", "pydantic", "aiohttp", "asyncio"} & {*ran.err.split()}


# --- a real bash ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bash(tmp_path: Path) -> dict[str, object]:
    """How a bash is started that finds the command `massgen`, and nothing of its user's."""
    program = tmp_path / "bin" / "massgen"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m massgen "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    return {"program": ("-c", BASH), "env": {"PATH": path, "PS1": "ready> ", "TERM": "dumb", "INPUTRC": "/dev/null"}}


BASH = "import os; os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])"


async def taught(person: Keyboard) -> None:
    await person.sees("ready> ")
    person.types("bind 'set enable-bracketed-paste off'; bind 'set page-completions off'; PS1='r''eady> '\r")
    await person.sees("\nready> ")
    person.types('eval "$(massgen completion bash)"\r')
    await person.sees("\nready> ")


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("massgen --config @examples/qui", "massgen --config @examples/quickstart "),
        ("massgen --config=@examples/qui", "massgen --config=@examples/quickstart "),
        ("massgen -c @exam", "massgen -c @examples/"),
        ("massgen --config tea", "massgen --config team.yaml "),
        ("massgen mod", "massgen models "),
        ("massgen models pu", "massgen models pull "),
        ("massgen models pull smol", "massgen models pull smollm2-135m "),
        ("massgen examples copy quick", "massgen examples copy quickstart "),
        ("massgen --no-disp", "massgen --no-display "),
        ("echo x | massgen init --backend clau", "echo x | massgen init --backend claude "),
    ],
)
async def test_bash_completes(bash: dict[str, object], tmp_path: Path, typed: str, completed: str) -> None:
    (tmp_path / "team.yaml").write_text("agents: []")
    async with keyboard(**bash) as person:
        await taught(person)
        person.types(f"{typed}\t")
        assert completed in await person.sees(completed)


async def test_bash_shows_templates_and_files_where_both_may_stand(bash: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text("agents: []")
    async with keyboard(**bash) as person:
        await taught(person)
        person.types("massgen --config \t\t")
        shown = await person.sees("team.yaml")
        assert "@examples/quickstart" in shown
