"""Where answers go and in which form, what stderr is told, and what a defect looks like: the command as a process."""

import json
import os
import re
import resource
import shutil
import signal
import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from massgen.app import Result
from massgen.console import check_writable, save
from massgen.errors import Exit, UsageError
from massgen.events import Member
from massgen.report import render
from tests.command import Ran, massgen, write_config
from tests.providers import Simulator, Team, fault, hang
from tests.test_command import QUESTION, facts, only
from tests.test_terminal import seen

pytestmark = pytest.mark.timeout(30)

RESULT = Result(
    answer="Paris.",
    winner="ada",
    exit_code=Exit.ANSWER,
    why="answered",
    failures={},
    session=Path("/sessions/one"),
    calls=5,
    input_tokens=1035,
    output_tokens=25,
    cost=0.01234,
    votes={"ada": 2},
    agents=(Member("ada", "openai", "gpt-5"), Member("bob", "claude", "sonnet")),
    seconds=4.21,
)


@pytest.fixture
async def team() -> AsyncGenerator[Simulator]:
    async with Simulator(Team(final="Paris.")) as simulator:
        yield simulator


@pytest.fixture
def config(team: Simulator, tmp_path: Path) -> str:
    return str(write_config(tmp_path / "team.yaml", team.base_url, 2))


async def asked(config: str, *arguments: str, **how: Any) -> Ran:
    return await massgen("--config", config, *arguments, QUESTION, **how)


# --- forms -----------------------------------------------------------------------------------------------------------


def test_text_is_the_answer_as_it_was_written() -> None:
    assert render(RESULT, QUESTION, "text") == "Paris."


def test_markdown_is_a_document_with_question_answer_and_origin() -> None:
    assert render(RESULT, "What is\nthe *capital*?", "markdown") == (
        "# What is the *capital*?\n\nParis.\n\n---\n\nBy ada of ada (openai gpt-5), bob (claude sonnet); votes: ada 2; "
        "4.2 s; 5 model calls; 1,035 tokens in, 25 out; $0.0123"
    )


def test_markdown_says_when_a_run_was_cut_short_and_without_an_answer_there_is_no_document() -> None:
    ada = Member("ada", "local", "tiny")
    alone = Result("Paris.", "ada", Exit.PARTIAL, "timeout", {}, Path("s"), 1, 7, 5, None, agents=(ada,))
    assert render(alone, "x" * 300, "markdown").endswith(
        "\n\nBy ada (local tiny); cut short: timeout; 0.0 s; 1 model call; 7 tokens in, 5 out"
    )
    assert len(render(alone, "x" * 300, "markdown").splitlines()[0]) == 202
    nobody = Result("", "", Exit.NO_ANSWER, "all failed", {"ada": "refused"}, Path("s"))
    assert render(nobody, QUESTION, "markdown") == ""
    assert json.loads(render(nobody, QUESTION, "json"))["failures"] == {"ada": "refused"}


async def test_json_as_a_format_is_one_object_with_everything_about_the_result(config: str, tmp_path: Path) -> None:
    ran = await asked(config, "--format", "json")
    told = json.loads(ran.out)
    (session,) = (tmp_path / "home/data/sessions").iterdir()
    assert told.pop("seconds") > 0
    assert told.pop("winner") in ("m1", "m2")
    assert sum(told.pop("votes").values()) == 2
    assert told == {
        "answer": "Paris.",
        "exit_code": 0,
        "why": "answered",
        "failures": {},
        "session": str(session),
        "calls": 5,
        "input_tokens": 35,
        "output_tokens": 25,
        "cost": None,
        "notes": [],
        "agents": [{"id": name, "backend": "chatcompletion", "model": name} for name in ("m1", "m2")],
    }


# --- files -----------------------------------------------------------------------------------------------------------


async def test_an_answer_goes_into_a_file_in_the_form_asked_for(config: str, tmp_path: Path) -> None:
    ran = await asked(config, "-o", "answer.md", "--format", "markdown")
    assert (ran.code, ran.out) == (Exit.ANSWER, "")
    assert (tmp_path / "answer.md").read_text().startswith(f"# {QUESTION}\n\nParis.\n\n---\n\nBy m")
    assert {path.name for path in tmp_path.iterdir()} == {"answer.md", "home", "team.yaml"}


async def test_the_facts_go_into_a_file_too(config: str, tmp_path: Path) -> None:
    ran = await asked(config, "-q", "--json", "-o", "facts.jsonl")
    assert (ran.code, ran.out, ran.err) == (Exit.ANSWER, "", "")
    lines = (tmp_path / "facts.jsonl").read_text().splitlines()
    recorded = [{key: each[key] for key in each.keys() - {"more"}} for each in facts(tmp_path / "home")]
    assert [json.loads(line) for line in lines] == recorded


async def test_a_dash_is_stdout(config: str, tmp_path: Path) -> None:
    ran = await asked(config, "-q", "-o", "-")
    assert (ran.code, ran.out, ran.err) == (Exit.ANSWER, "Paris.\n", "")
    assert not (tmp_path / "-").exists()


async def test_without_an_answer_a_file_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "answer.txt").write_text("yesterday's")
    async with Simulator(lambda _: fault(status=401)) as simulator:
        config = write_config(tmp_path / "team.yaml", simulator.base_url, 1)
        ran = await asked(str(config), "-o", "answer.txt")
    assert ran.code == Exit.NO_ANSWER
    assert (tmp_path / "answer.txt").read_text() == "yesterday's"


async def test_a_file_that_can_no_longer_be_written_costs_nobody_the_answer(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    team = Team(final="Paris.")

    def policy(call: Any) -> Any:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        return team(call)

    async with Simulator(policy) as simulator:
        config = write_config(tmp_path / "team.yaml", simulator.base_url, 1)
        ran = await asked(str(config), "-o", "out/answer.txt")
    assert (ran.code, ran.out) == (Exit.NO_ANSWER, "Paris.\n")
    assert (
        "out/answer.txt: the output file cannot be written (No such file or directory); the answer went to" in ran.err
    )


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("none/a.txt", "No such file or directory"),
        (".", "it is a folder"),
        ("team.yaml/a.txt", "Not a directory"),
        ("a\0b", "embedded null byte"),
        ("x" * 300, "File name too long"),
    ],
)
def test_where_nothing_can_be_written_is_told_before_the_run(config: str, path: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"the output file cannot be written: {why}") as refused:
        check_writable(path)
    assert refused.value.where == path


@pytest.mark.skipif(not Path("/proc/sys/kernel/ostype").exists(), reason="a file that not even root may write")
def test_a_file_that_is_read_only_is_not_replaced() -> None:
    with pytest.raises(UsageError, match="Permission denied"):
        check_writable("/proc/sys/kernel/ostype")


def test_a_file_is_replaced_as_a_whole_and_keeps_its_permissions(tmp_path: Path) -> None:
    target, link = tmp_path / "a.txt", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    check_writable(str(link))
    assert target.read_text() == "old"
    with target.open() as reader:
        save(str(link), "né\ud800w")
        assert reader.read() == "old", "who reads it keeps what was there"
    assert (target.read_text(), link.is_symlink()) == ("né?w\n", True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert len([*tmp_path.iterdir()]) == 2


def test_a_device_is_written_to_and_stays_one() -> None:
    check_writable(os.devnull)
    save(os.devnull, "x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_device_is_an_error() -> None:
    with pytest.raises(OSError, match="No space"):
        save("/dev/full", "x")


def test_a_disk_that_is_full_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(str(target), "x" * 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert target.read_text() == "old"
    assert [*tmp_path.iterdir()] == [target]


async def test_facts_that_stdout_no_longer_takes_are_told_once_and_kept(config: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    ran = await asked(config, "--json", "--no-display", stdout=write)
    os.close(write)
    (session,) = (tmp_path / "home/data/sessions").iterdir()
    assert ran.code == Exit.NO_ANSWER
    assert ran.err == f"massgen: stdout cannot be written (Broken pipe); the facts are kept in {session}\n"
    assert facts(tmp_path / "home")[-1]["why"] == "answered"


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("")
    before = {*tmp_path.rglob("*")}
    with pytest.raises(UsageError):
        check_writable(str(tmp_path / "a"))
    with pytest.raises(OSError, match="directory"):
        save(str(tmp_path / "a"), "x")
    assert {*tmp_path.rglob("*")} == before


# --- stderr ----------------------------------------------------------------------------------------------------------


async def test_verbose_tells_every_turn_and_call_and_the_session(config: str, tmp_path: Path) -> None:
    ran = await asked(config, "-v", env={"COLUMNS": "40"})
    assert (ran.code, ran.out) == (Exit.ANSWER, "Paris.\n")
    assert ran.err.count("m1 begins turn: answer\n") == 1
    assert ran.err.count("begins turn: decide, shown 2 answers\n") == 2
    assert ran.err.count(" called m1: 7 tokens in, 5 out, ") >= 2
    assert 'm1 said: vote {"' in ran.err
    (session,) = (tmp_path / "home/data/sessions").iterdir()
    assert ran.err.rstrip().endswith(f"session {session}")
    assert "\x1b" not in ran.err


async def test_quiet_leaves_errors_alone_on_stderr(tmp_path: Path) -> None:
    async with Simulator(only("m2", hang(), Team(answer="Paris, says {agent}."))) as simulator:
        config = write_config(tmp_path / "team.yaml", simulator.base_url, 2)
        ran = await asked(str(config), "-q", "--timeout", "0.7")
    assert (ran.code, ran.out) == (Exit.PARTIAL, "Paris, says m1.\n")
    (first, *_) = ran.err.splitlines()
    assert first == "massgen: time ran out; the best answer so far follows"
    assert "asked" not in ran.err


@pytest.mark.parametrize(
    ("wish", "options", "shown"),
    [("none", (), False), ("none", ("-v",), True), ("simple", ("--no-display",), False), ("simple", (), True)],
)
async def test_the_configurations_wish_holds_unless_an_option_says_otherwise(
    team: Simulator, tmp_path: Path, wish: str, options: tuple[str, ...], shown: bool
) -> None:
    config = write_config(tmp_path / "team.yaml", team.base_url, 1, ui={"display_type": wish})
    ran = await asked(str(config), *options)
    assert ran.out == "Paris.\n"
    assert ("presented the final answer" in ran.err or "answered" in ran.err) is shown


async def test_time_that_runs_out_before_an_answer_is_no_answer(tmp_path: Path) -> None:
    async with Simulator(lambda _: hang()) as simulator:
        config = write_config(tmp_path / "team.yaml", simulator.base_url, 1)
        ran = await asked(str(config), "--timeout", "0.4", "--no-display")
    assert (ran.code, ran.out) == (Exit.NO_ANSWER, "")
    assert "time ran out; there is no answer" in ran.err


SABOTAGED = """
import sys
opened = []
def fail(event, arguments):
    if event == "open" and str(arguments[0]).endswith("events.jsonl"):
        opened.append(arguments)
    if len(opened) > 3:  # three times to begin it, once to read it
        opened.clear()
        raise RuntimeError("nobody foresaw this, nor sk-secret-0123456789")
sys.addaudithook(fail)
from massgen.cli import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize("debug", [False, True])
async def test_a_defect_is_told_as_one_with_its_session_and_a_traceback_only_if_asked(
    config: str, tmp_path: Path, debug: bool
) -> None:
    env = {"OPENAI_API_KEY": "sk-secret-0123456789"}
    options = ["--json", "-o", "facts.jsonl", *(["--debug"] if debug else [])]
    ran = await asked(config, *options, program=("-c", SABOTAGED), env=env)
    (session,) = (tmp_path / "home/data/sessions").iterdir()
    assert (ran.code, ran.out) == (Exit.NO_ANSWER, "")
    assert "massgen: this is a bug in massgen: RuntimeError: nobody foresaw this, nor [redacted]\n" in ran.err
    assert f"  session: {session}\n  Please report it" in ran.err
    assert ("Traceback (most recent call last)" in ran.err) is debug
    assert ("DEBUG massgen: configuration" in ran.err) is debug
    assert "sk-secret" not in ran.err


async def test_a_terminal_without_colour_gets_none(tmp_path: Path) -> None:
    shown, code = await seen(tmp_path, Team(final="Paris."), NO_COLOR="1")
    assert code == Exit.ANSWER
    assert b"\x1b[?2026h" in shown.raw, "it is the live view"
    assert re.findall(rb"\x1b\[(?:\d+;)*(?:3|4|9|10)\d(?:;\d+)*m", shown.raw) == []
    assert "session " in shown.text
