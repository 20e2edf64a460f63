"""The command's edge: help, version, mistyped commands, and what becomes of a defect."""

import os
import sys
import types

import click
import pytest

from massgen import __version__
from massgen.cli import COMMANDS, run
from massgen.errors import Exit
from tests.command import ended, massgen, started

pytestmark = pytest.mark.timeout(60)

SECRET = "sk-very-secret-0123456789"


@pytest.fixture
def defective(monkeypatch: pytest.MonkeyPatch) -> None:
    """`massgen models` has a defect, which even has a key in its words."""

    def fail() -> None:
        raise LookupError(f"nobody foresaw {SECRET}")

    monkeypatch.setenv("SOME_API_KEY", SECRET)
    module = types.SimpleNamespace(command=click.Command("models", callback=fail))
    monkeypatch.setitem(sys.modules, "massgen.commands.models", module)


def test_a_defect_is_told_as_one_without_a_traceback(defective: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == Exit.NO_ANSWER
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "massgen: this is a bug in massgen: LookupError: nobody foresaw [redacted]\n"
        "  Please report it, with what MASSGEN_DEBUG=1 shows.\n"
    )


def test_who_debugs_sees_where_but_no_key(
    defective: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MASSGEN_DEBUG", "1")
    assert run(["models"]) == Exit.NO_ANSWER
    told = capsys.readouterr().err
    assert "Traceback (most recent call last)" in told
    assert "in fail" in told
    assert SECRET not in told


@pytest.mark.parametrize("name", ["", *COMMANDS])
async def test_every_command_has_help(name: str) -> None:
    """Each in a process of its own: click keeps the first help option that it makes for a command."""
    for flag in ("-h", "--help"):
        ran = await massgen(*filter(None, (name, flag)))
        assert (ran.code, ran.err) == (Exit.ANSWER, "")
        assert ran.out.startswith(f"Usage: massgen {name}".rstrip())


async def test_the_help_names_every_other_command() -> None:
    named = " ".join((await massgen("--help")).out.split()).partition("Other commands: massgen ")[2].partition(".")[0]
    assert sorted(named.split(", ")) == sorted(COMMANDS)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == Exit.ANSWER
    assert capsys.readouterr().out == f"massgen {__version__}\n"


@pytest.mark.parametrize(
    ("word", "meant"), [("exampels", "examples"), ("int", "init"), ("model", "models"), ("completions", "completion")]
)
def test_a_mistyped_command_does_not_become_a_question(
    word: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([word]) == Exit.USAGE
    assert f"no command is called {word!r}; did you mean {meant!r}?" in capsys.readouterr().err


async def test_a_reader_that_has_seen_enough_is_no_defect() -> None:
    read, write = os.pipe()
    os.close(read)
    async with started("models", "list", "--provider", "litellm", stdout=write) as process:
        os.close(write)
        ran = await ended(process)
    assert ran.code == Exit.NO_ANSWER
    assert ran.err == "massgen: stdout cannot be written (Broken pipe); ask again\n"
