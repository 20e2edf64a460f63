"""`massgen replay`: a recorded session, shown again as it happened."""

import asyncio
import json
import math
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from massgen.cli import run
from massgen.errors import Exit
from massgen.events import (
    Answered,
    Fact,
    Informed,
    Presented,
    Recorded,
    Retried,
    Said,
    Stopped,
    TurnBegan,
    Voted,
    Waited,
)
from massgen.log import FORMAT, line, read
from massgen.messages import Chunk, Media, Message, Reply, Text, ToolCall, ToolCallDelta, Waiting
from massgen.replay.replaying import LONGEST, PIECES, Delta, Moment, moments
from massgen.sessions import LOG_NAME, create
from tests.command import SECONDS, Ran, ended, massgen, started
from tests.conversations import SESSIONS, Process, performed, processes
from tests.facts import ANSWER, START, Run, answering, conversed, resumed, troubled, voting, whole
from tests.test_terminal import window
from tests.test_truths import Scene, folder, scenes

GOLDEN = Path(__file__).parent / "golden" / "format-1.jsonl"


def shown(timed: Sequence[Moment]) -> list[Recorded]:
    return [moment.shown for moment in timed if isinstance(moment.shown, Recorded)]


def streamed(timed: Sequence[Moment], agent: str = "alice") -> list[Chunk]:
    return [each.shown.chunk for each in timed if isinstance(each.shown, Delta) and each.shown.agent == agent]


def said(*parts: Text | ToolCall, seconds: float = 1.0) -> Run:
    """A run in which alice has said something."""
    run = answering(2)
    run.add(Said("alice", run.turns["alice"], Message("assistant", parts)), after=seconds)
    return run


# --- what is shown when --------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(scenes, st.floats(0.1, 100), st.randoms(use_true_random=False))
def test_every_fact_is_shown_once_in_order_after_a_pause_of_at_most_two_seconds(
    scene: Scene, speed: float, dice: Any
) -> None:
    with folder() as name:
        stage, _ = scene.stage(name)
        stage.run()
        times = sorted(dice.uniform(0, 300) for _ in read(stage.path))
        facts = [replace(each, at=at) for each, at in zip(read(stage.path), times, strict=True)]
    timed = [*moments(facts, speed)]
    assert shown(timed) == facts
    assert all(moment.wait >= 0 for moment in timed)
    place = {id(moment.shown): time for moment, time in zip(timed, accumulate(m.wait for m in timed), strict=True)}
    for one, other in pairwise(facts):
        pause = min(other.at - one.at, LONGEST) / speed
        assert math.isclose(place[id(other)] - place[id(one)], pause, rel_tol=1e-6, abs_tol=1e-6)


def test_what_an_agent_said_streams_in_its_turn_before_it_is_said() -> None:
    text = "It was founded as a compromise. " * 100
    call = ToolCall("c1", "new_answer", json.dumps({"content": text}))
    facts = said(Text(text), call).facts
    timed = [*moments(facts, 1)]
    reply = Reply()
    for chunk in streamed(timed):
        reply.add(chunk)
    assert reply.message == Message("assistant", (Text(text), call))
    assert 20 < len(streamed(timed)) <= PIECES + 2
    assert timed[-1].shown == facts[-1]
    waits = [moment.wait for moment in timed[3:]]
    assert waits == pytest.approx([1 / len(waits)] * len(waits)), "evenly"
    assert [moment.at for moment in timed] == sorted(moment.at for moment in timed)


def test_agents_stream_side_by_side() -> None:
    run = answering(2)
    message = Message("assistant", (Text("word " * 40),))
    run.add(Said("alice", run.turns["alice"], message), after=1.0)
    run.add(Said("bob", run.turns["bob"], message), after=0.1)
    speakers = [each.shown.agent for each in moments(run.facts, 1) if isinstance(each.shown, Delta)]
    assert sum(one != other for one, other in pairwise(speakers)) > 10


def test_two_tool_calls_and_what_is_no_speech() -> None:
    facts = said(ToolCall("a", "one", "{}"), ToolCall("b", "two", "")).facts
    assert streamed([*moments(facts, 1)]) == [ToolCallDelta(0, "a", "one", "{}"), ToolCallDelta(1, "b", "two", "")]
    picture = Message("assistant", (Media("image", "image/png", data="AA=="),))
    for message in (picture, Message("tool", (Text("found it"),))):
        silent = replace(facts[-1], fact=Said("alice", 2, message))
        assert streamed([*moments([*facts[:-1], silent], 1)]) == []


def test_a_call_that_is_sent_again_says_nothing_until_then() -> None:
    run = answering(1)
    run.add(Retried("alice", 2, "HTTP 503", 1.5))
    run.add(Said("alice", 2, Message("assistant", (Text("Canberra."),))), after=2.0)
    waits = [moment.wait for moment in moments(run.facts, 1)]
    assert waits == pytest.approx([0, 0, 0, 1.5 + 0.5 / 3, 0.5 / 3, 0.5 / 3])


@pytest.mark.parametrize("killed", [True, False])
def test_what_comes_of_a_turn_that_was_taken_up_streams_after_the_run_went_on(killed: bool) -> None:
    run = answering(2)
    run = (run if killed else run.interrupt("alice", "bob")).resume()
    went_on = run.facts[-1]
    run.add(Said("alice", run.turns["alice"], Message("assistant", (Text("word " * 40),))), after=1.5)
    timed = [*moments(run.facts, 1)]
    place = [moment.shown for moment in timed].index(went_on)
    assert streamed(timed[:place]) == []
    assert len(streamed(timed[place:])) > 10
    assert all(went_on.at <= moment.at <= run.at for moment in timed[place:])
    assert sum(moment.wait for moment in timed) == pytest.approx(LONGEST + 1.5)


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(processes)
def test_every_session_is_shown_whole_in_order(run: list[Process]) -> None:
    with folder() as name:
        facts, _ = performed(Path(name) / LOG_NAME, run)
    timed = [*moments(facts, 1)]
    assert shown(timed) == facts
    assert [moment.at for moment in timed] == sorted(moment.at for moment in timed)


def test_a_wait_for_a_limit_is_shown_while_it_lasted() -> None:
    run = answering(1)
    run.add(Waited("alice", 2, "rpm", 5, 5, 60.0), after=60.0)
    timed = [*moments(run.facts, 1)]
    begins, over = Waiting("rpm", 60.0, 5, 5), Waiting("rpm", 60.0, 5, 5, over=True)
    assert [each.shown for each in timed[2:]] == [Delta("alice", begins), Delta("alice", over), run.facts[-1]]
    assert [each.wait for each in timed[2:]] == [0.0, LONGEST, 0.0]
    assert [each.at for each in timed[2:]] == [START, START + 60, START + 60]


def test_at_once_is_without_a_wait_and_without_what_streamed() -> None:
    facts = whole(3).facts
    assert [*moments(facts, math.inf)] == [Moment(0.0, each.at, each) for each in facts]
    assert [*moments([], 1)] == []


def test_a_clock_that_went_backwards_is_no_pause() -> None:
    one, other, *_ = answering(1).facts
    timed = [*moments([one, replace(other, at=one.at - 3600)], 1)]
    assert [moment.wait for moment in timed] == [0.0, 0.0]


# --- the command ---------------------------------------------------------------------------------------------------


def session(facts: Sequence[Recorded]) -> Path:
    made = create()
    header = json.dumps({"massgen": "session log", "format": FORMAT})
    (made / LOG_NAME).write_text("\n".join([header, *map(line, facts), ""]), "utf-8")
    return made


def replayed(facts: Sequence[Recorded], capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    code = run(["replay", str(session(facts)), "--speed", "0", *arguments])
    out, err = capsys.readouterr()
    return Ran(code, out, err)


def test_lines_tell_what_happened_and_stdout_gets_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    ran = replayed(troubled().facts, capsys)
    assert (ran.code, ran.out) == (Exit.ANSWER, f"{ANSWER}\n")
    for told in ("asked alice, bob, carol:", "carol failed: HTTP 401", "voting opened", "chosen: bob (2 of 2 votes)"):
        assert told in ran.err
    assert "model calls" in ran.err


def ending(*facts: Fact) -> list[Recorded]:
    run = answering(2)
    run.answer("alice")
    for fact in facts:
        run.add(fact)
    return run.facts


@pytest.mark.parametrize(
    ("facts", "code", "out"),
    [
        (whole(1).facts, Exit.ANSWER, f"{ANSWER}\n"),
        (ending(Stopped("no answer")), Exit.NO_ANSWER, ""),
        (ending(Presented("alice", None, "Canberra."), Stopped("timeout")), Exit.PARTIAL, "Canberra.\n"),
        (ending(Presented("alice", None, "Canberra."), Stopped("all failed")), Exit.PARTIAL, "Canberra.\n"),
        (ending(Stopped("interrupted")), Exit.INTERRUPTED, ""),
        (voting(3).facts, Exit.INTERRUPTED, ""),
    ],
)
def test_the_exit_code_is_that_of_the_run(
    facts: list[Recorded], code: Exit, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = replayed(facts, capsys)
    assert (ran.code, ran.out) == (code, out)


def test_without_a_session_the_latest_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    session(whole(1).facts)
    assert run(["replay", "--speed", "instant"]) == Exit.ANSWER
    assert capsys.readouterr().out == f"{ANSWER}\n"


def test_the_golden_log_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    made = create()
    (made / LOG_NAME).write_bytes(GOLDEN.read_bytes())
    assert run(["replay", made.name, "--speed", "100"]) == Exit.PARTIAL
    shown = capsys.readouterr()
    assert shown.out == "Because of scattering.\n"
    assert "alice checked the final answer: restart: Thin." in shown.err


def test_a_conversation_is_shown_question_by_question_and_stdout_gets_the_last_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = replayed(conversed().facts, capsys)
    assert (ran.code, ran.out) == (Exit.ANSWER, "The answer to question 3.\n")
    assert ran.err.count("asked alice: ") == 3
    assert "alice summarised the conversation before" in ran.err
    assert ran.err.splitlines()[-1].startswith("2 model calls, "), "of the last question"


def test_a_run_that_went_on_is_shown_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    ran = replayed(resumed().facts, capsys)
    assert (ran.code, ran.out) == (Exit.ANSWER, "Canberra.\n")
    assert "stopped: interrupted\nthe run goes on: dave joined; carol left\n" in ran.err


@pytest.mark.parametrize("name", SESSIONS)
def test_the_golden_logs_of_real_runs_are_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = create()
    (made / LOG_NAME).write_bytes((GOLDEN.parent / f"format-1-{name}.jsonl").read_bytes())
    assert run(["replay", made.name, "--speed", "0"]) == Exit.ANSWER
    assert capsys.readouterr().out


def test_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = session(whole(3).facts)

    def everything() -> dict[Path, tuple[int, int]]:
        stats = {path: path.stat() for path in tmp_path.rglob("*")}
        return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}

    before = everything()
    assert run(["replay", str(made), "--speed", "0"]) == Exit.ANSWER
    assert everything() == before


@pytest.mark.parametrize("speed", ["-1", "nan", "fast", "", "1e-300"])
def test_a_speed_that_is_none_is_refused(speed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", "--speed", speed]) == Exit.USAGE
    assert f"{speed!r} is neither a number from 0.001 on, nor 0 or `instant`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "fact",
    [
        Answered("zoe", 2, "I was not asked."),
        TurnBegan("zoe", "answer"),
        Informed("alice", 2, {}),
        Informed("alice", 2, {"winner": (5,)}),
        Voted("alice", 2, 999, ""),
    ],
)
def test_facts_that_no_run_can_have_recorded_are_told_with_their_line(
    fact: Fact, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = answering(2).facts
    ran = replayed([*facts, Recorded(4, START, fact)], capsys)
    assert ran.code == Exit.USAGE
    assert f"{LOG_NAME}:5: this fact does not follow from those before it\n  massgen verify" in ran.err


def test_a_time_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    log = session(whole(1).facts) / LOG_NAME
    log.write_text(log.read_text("utf-8").replace(f'"at":{START}', '"at":NaN'), "utf-8")
    assert run(["replay", "--speed", "0"]) == Exit.USAGE
    assert f"{LOG_NAME}:2: this line is damaged: NaN is no number" in capsys.readouterr().err


def test_a_log_that_holds_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    ran = replayed([], capsys)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "it holds no fact to show" in ran.err


# --- as a process --------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.timeout(30)


async def test_a_pipe_that_is_closed_is_told_where_the_answer_is() -> None:
    made = session(whole(1).facts)
    reads, writes = os.pipe()
    os.close(reads)
    async with started("replay", "--speed", "0", stdout=writes) as process:
        os.close(writes)
        ran = await ended(process)
    assert ran.code == Exit.NO_ANSWER
    assert f"the answer is kept in {made}" in ran.err


async def test_a_person_sees_the_team_at_work_again_and_then_the_answer() -> None:
    session(whole(3).facts)
    async with window() as (seen, theirs):
        ends: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        async with (
            started("replay", "--speed", "4", env={"TERM": "xterm-256color"}, **ends) as process,
            asyncio.timeout(SECONDS),
        ):
            os.close(theirs)
            await seen.until(lambda: "thinking" in seen.text and "Canberra." in seen.text)
            await seen.closed.wait()
            assert await process.wait() == Exit.ANSWER
    assert seen.text.replace("\n", "").endswith(ANSWER)
    assert "7 model calls" in seen.text
    assert not seen.screen.cursor.hidden


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_ends_it_quietly(how: signal.Signals) -> None:
    session(whole(3).facts)
    async with (
        window() as (seen, theirs),
        started("replay", "--speed", "0.01", env={"TERM": "xterm"}, stdin=theirs, stderr=theirs) as process,
        asyncio.timeout(SECONDS),
    ):
        os.close(theirs)
        await seen.until(lambda: "thinking" in seen.text)
        process.send_signal(how)
        await seen.closed.wait()
        assert await process.wait() == Exit.INTERRUPTED
        assert process.stdout
        assert await process.stdout.read() == b""
    assert not seen.screen.cursor.hidden
    assert "Traceback" not in seen.text


async def test_it_loads_neither_a_provider_nor_a_network_library() -> None:
    session(ending(Stopped("interrupted")))
    program = "import sys; from massgen.cli import run; run(['replay', '--speed', '0']); print(*sys.modules)"
    ran = await massgen(program=("-c", program))
    assert not {"aiohttp", "litellm", "pydantic", "rich"} & {*ran.out.split()}
