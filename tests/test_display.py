"""What is drawn: frames compared with stored ones (`UPDATE_SNAPSHOTS=1` writes them anew, and fails), and plain lines."""

import io
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import ColorType
from rich.console import Console

from massgen.display import Mode, NoView, PlainView, open_display
from massgen.display.frame import ASCII, UNICODE, Frame, Glyphs, paint
from massgen.display.view import View
from massgen.events import (
    Evaluated,
    Informed,
    PlanChanged,
    Presented,
    Reprompted,
    Said,
    Spent,
    Stopped,
    TurnFailed,
    Waited,
)
from massgen.messages import Message, Text, TextDelta, ToolCall, Waiting
from massgen.planning import PlannedTask
from tests import pictures
from tests.facts import START, Run, answering, conversed, presenting, resumed, troubled, voting, whole

SNAPSHOTS = Path(__file__).parent / "snapshots" / "display"
STREAMED = (
    "Canberra became the capital because neither Sydney nor Melbourne would yield. The constitution of 1901 asks for a "
    "site in New South Wales, at least 100 miles from Sydney.\n\n- 1908: Yass-Canberra is chosen\n- 1913: it is founded\n"
    "- 1927: parliament moves in"
)
HOSTILE = (
    "[bold red]not markup[/bold red] \x1b[2J\x1b[1;1Hhome \x1b]0;owned\x07 \x9b31mC1 \u202egnp.exe\u202c "
    "\u2066isolated\u2069 bell\x07 \x00nul tab\there 日本語の文字が続きます。 שלום עולם e\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467 end"
)


def viewed(run: Run, streamed: dict[str, str] | None = None) -> View:
    view = View()
    for recorded in run.facts:
        view.fact(recorded)
    for agent, text in (streamed or {}).items():
        view.delta(agent, TextDelta(text))
    return view


def waiting(count: int) -> View:
    return viewed(Run(answering(count).names).ask())


def streaming(count: int) -> View:
    run = answering(count)
    return viewed(run, {agent: STREAMED[: 60 * number] for number, agent in enumerate(run.names, 1)})


def mid_vote(count: int) -> View:
    if count == 1:  # one agent does not vote: its whole run instead
        return viewed(whole(1))
    return viewed(voting(count), {"judy": "weighing", "carol": "weighing the two"})


def failing(count: int) -> View:
    run = answering(count)
    run.fail(run.names[-1], "HTTP 401 from api.example.org: the key in CAROL_KEY was refused; set it and resume")
    if count > 1:
        run.retry("alice", "HTTP 429: slow down", 8).answer("bob", "Canberra.")
    return viewed(run)


def finale(count: int) -> View:
    return viewed(presenting(count), {"alice": STREAMED})


def hostile(count: int) -> View:
    run = answering(count).answer("alice", HOSTILE).fail("bob", HOSTILE)
    return viewed(run, {"carol": HOSTILE})


def text(frame: Frame, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, height=60, legacy_windows=False)
    with console.capture() as captured:
        console.print(frame, end="")
    return "".join(f"{row.rstrip()}\n" for row in captured.get().splitlines())


def painted(view: View, width: int, *, height: int = 24, glyphs: Glyphs = UNICODE, closing: bool = False) -> str:
    now = view.began + 3.4 + sum(lane.use.calls for lane in view.lanes.values())
    return text(paint(view, now, width, height, glyphs, closing=closing), width)


def compare(name: str, drawn: str) -> None:
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(drawn, encoding="utf-8")
        pytest.fail(f"{path.name} was written: read it, and run the tests without UPDATE_SNAPSHOTS")
    assert drawn == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("scene", [waiting, streaming, mid_vote, failing, finale])
def test_a_frame_looks_as_it_was_approved(scene: Callable[[int], View], count: int, width: int) -> None:
    compare(f"{scene.__name__}-{count}-{width}", painted(scene(count), width))


@pytest.mark.parametrize("count", [1, 3, 10])
def test_twenty_columns_and_few_rows_are_enough_to_follow(count: int) -> None:
    compare(f"narrow-{count}-20", painted(streaming(count), 20, height=16))


@pytest.mark.parametrize("width", [20, 80, 140])
def test_hostile_text_is_shown_and_has_no_effect(width: int) -> None:
    drawn = painted(hostile(3), width)
    assert all(character in "\n\u200d" or character.isprintable() for character in drawn)
    compare(f"hostile-3-{width}", drawn)


def test_ascii_terminals_get_ascii_drawings() -> None:
    drawn = painted(failing(3), 80, glyphs=ASCII)
    assert drawn.isascii()
    compare("ascii-3-80", drawn)


def test_what_remains_after_the_run_is_one_row_an_agent() -> None:
    compare("closing-3-80", painted(viewed(troubled()), 80, closing=True))
    assert painted(View(), 80, closing=True) == "massgen\n"


def test_a_hundred_agents_that_find_no_room_are_counted() -> None:
    run = Run(tuple(f"agent{number}" for number in range(1, 101))).ask().begin("answer")
    for name in run.names[50:60]:
        run.answer(name)
    assert "+81 more: 71 thinking, 10 answered" in painted(viewed(run), 80)


@settings(max_examples=60, deadline=None)
@example(1, 1, 10, "日本\u200d\ufe0f", streaming)
@example(10, 2, 30, "日本\u0301", streaming)
@given(
    st.sampled_from([1, 2, 3, 10]),
    st.integers(1, 150),
    st.integers(1, 50),
    st.text(max_size=300),
    st.sampled_from([waiting, streaming, mid_vote, failing, finale]),
)
def test_no_line_is_wider_and_no_frame_taller_than_the_terminal(
    count: int, width: int, height: int, said: str, scene: Callable[[int], View]
) -> None:
    view = scene(count)
    view.delta("alice", TextDelta(said))
    frame = paint(view, START + 5, width, height, UNICODE)
    assert len(frame.lines) <= max(1, height - 1)
    assert all(cell_len("".join(segment.text for segment in row)) <= width for row in frame.lines)


def test_only_named_colours_are_used_and_words_say_what_colours_say() -> None:
    for scene in (streaming, mid_vote, failing, finale):
        frame = paint(scene(3), START + 5, 80, 24, UNICODE)
        styles = [segment.style for row in frame.lines for segment in row if segment.style]
        colours = [style.color for style in styles if style.color]
        assert all(colour.type is ColorType.STANDARD for colour in colours)
        assert all(style.bgcolor is None for style in styles)
    assert "failed: HTTP 401" in painted(failing(3), 140)


def test_a_long_word_is_broken_and_indentation_is_kept() -> None:
    view = viewed(answering(1), {"alice": f"def f():\n    return 1\n{'x' * 50}"})
    rows = painted(view, 30).splitlines()
    assert rows[4:8] == ["def f():", "    return 1", "x" * 30, "x" * 20]


def test_a_narrower_terminal_breaks_the_old_frame_into_more_rows() -> None:
    frame = paint(waiting(3), START, 80, 24, UNICODE)
    assert frame.rows(80) == len(frame.lines)
    assert frame.rows(20) > frame.rows(79) > frame.rows(80)


def plain(run: Run, session: str = "", mode: Mode = "auto") -> list[str]:
    stream = io.StringIO()
    with open_display(mode, stream, clock=lambda: run.at, session=session) as display:
        assert isinstance(display, PlainView)
        for recorded in run.facts:
            display.fact(recorded)
            display.delta("alice", TextDelta("\x1b[31mnot shown"))
    return stream.getvalue().splitlines()


def test_a_pipe_is_told_of_a_wait_that_is_worth_a_word() -> None:
    run, stream = answering(1), io.StringIO()
    with open_display("auto", stream, clock=lambda: run.at) as display:
        for recorded in run.facts:
            display.fact(recorded)
        for wait in (Waiting("pacing", 0.2, 1, 1), Waiting("rpm", 12.0, 9, 9), Waiting("rpm", 12.0, 9, 9, over=True)):
            display.delta("alice", wait)
    assert stream.getvalue().splitlines()[1] == "alice is waiting 12 s for RPM 9/9"
    run.add(Waited("alice", run.turns["alice"], "rpm", 9, 9, 12.0))
    assert next(line for line in plain(run, mode="verbose") if "waited" in line).endswith("alice waited 12.0 s for rpm")


def test_a_pipe_gets_a_line_for_each_fact_worth_one_and_the_summary() -> None:
    assert plain(troubled(), "20260101-demo") == [
        "asked alice, bob, carol: What is the capital of Australia, and why is it not Sydney?",
        "bob retries in 4 s: HTTP 429 from api.example.org: slow down",
        "alice answered (1.6 s, 120 tokens)",
        "carol failed: HTTP 401 from api.example.org: the key in CAROL_KEY was refused",
        "bob answered (3.3 s, 120 tokens)",
        "voting opened: all answered",
        "alice voted for alice: it names the compromise",
        "bob answered anew (1.9 s, 120 tokens)",
        "alice voted for bob: dates both steps",
        "bob voted for bob",
        "chosen: bob (2 of 2 votes)",
        "bob presented the final answer (1.5 s, 120 tokens)",
        "Chosen: bob (votes: bob 2)",
        "7 model calls, 5,684 tokens in, 840 out, $0.0147, 7.5 s, session 20260101-demo",
    ]


def test_what_goes_wrong_is_worth_a_line_too() -> None:
    run = answering(3)
    turn = run.turns["alice"]
    run.add(Reprompted("alice", turn, "call\n new_answer"))
    run.answer("carol").begin("answer", ["carol"])
    run.add(Informed("alice", turn, run.ballot))
    run.add(TurnFailed("bob", turn, "timeout", "longer than 600 s"))
    run.add(TurnFailed("carol", turn, "interrupted", ""))
    run.begin("answer", ["carol"])
    run.add(TurnFailed("carol", turn, "cancelled", "the vote was over"))
    run.answer("alice").choose("alice", {})
    run.add(Presented("alice", None, "Canberra."))
    run.add(Evaluated("alice", turn, "submit", "it is right"))
    run.add(Stopped("timeout"))
    assert plain(run)[1:-2] == [
        "alice was asked again: call new_answer",
        "carol answered (1.5 s, 120 tokens)",
        "bob dropped: longer than 600 s",
        "carol was interrupted",
        "alice answered (3.0 s, 120 tokens)",
        "chosen: alice (single agent)",
        "alice checked the final answer: submit: it is right",
        "stopped: timeout",
    ]


def test_a_run_that_goes_on_says_so_and_who_joined_and_who_left() -> None:
    told = plain(resumed())
    assert told[1:9] == [
        "alice answered (1.5 s, 120 tokens)",
        "bob was interrupted: the run was stopped",
        "carol was interrupted: the run was stopped",
        "stopped: interrupted",
        "the run goes on: dave joined; carol left",
        "bob answered (3.0 s, 120 tokens)",
        "dave answered (3.0 s, 120 tokens)",
        "voting opened: all answered",
    ]
    same = answering(1).interrupt("alice").resume()
    assert plain(same)[3] == "the run goes on"


def test_a_summary_of_the_conversation_is_told_and_each_question_ends_with_its_own_totals() -> None:
    told = plain(conversed())
    assert "alice summarised the conversation before (1.5 s, 120 tokens)" in told
    assert [line for line in told if line.startswith("asked")][2] == "asked alice: How far apart are they?"
    assert told[-2:] == [
        "Chosen: alice (single agent)",
        "2 model calls, 1,624 tokens in, 240 out, $0.0042, 3.0 s",
    ]


def test_verbose_lines_tell_when_every_turn_and_every_call_too() -> None:
    run = answering(2)
    turn = run.turns["alice"]
    call = ToolCall("c", "new_answer", '{"content": "Canberra.\\u001b"}')
    run.add(Said("alice", turn, Message("assistant", (Text("I know\n\x1bthis."), call))))
    run.add(Spent("alice", turn, "gpt-5", 1200, 25, 0.0012, 1.25))
    run.add(Spent("bob", run.turns["bob"], "own", 7, 5, None, 61.0))
    run.answer("bob", "Canberra.").begin("answer", ["bob"])
    run.add(Informed("alice", turn, run.ballot))
    run.add(TurnFailed("bob", run.turns["bob"], "error", "HTTP 401"))
    lines = plain(run, mode="verbose")[:-2]
    assert [line[11:] for line in lines[1:]] == [
        "alice begins turn: answer",
        "bob begins turn: answer",
        'alice said: I know this. new_answer {"content": "Canberra.\\u001b"}',
        "alice called gpt-5: 1,200 tokens in, 25 out, 1.2 s, $0.0012",
        "bob called own: 7 tokens in, 5 out, 1 m 01 s",
        "bob said: Canberra.",
        "bob called model-b: 812 tokens in, 120 out, 1.5 s, $0.0021",
        "bob answered (1.5 s, 125 tokens)",
        "bob begins turn: answer",
        "alice was shown what changed: 1 answer now",
        "bob failed: HTTP 401",
    ]
    assert all(re.fullmatch(r" +\d+\.\d s  \S.*", line) for line in lines)
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)
    assert times[0] == 0.0


def test_tools_are_told_in_verbose_lines_and_what_became_of_a_plan_in_every_mode() -> None:
    run = answering(2)
    tasks = [PlannedTask("t1", "Read"), PlannedTask("t2", "Check\nit"), PlannedTask("t3", "Write")]
    run.use("alice", "read_file", '{"path": "notes.md"}').result("alice", "Canberra,\nsince 1913.")
    run.use("bob", "search").result("bob", "No network.", is_error=True)
    run.plan("alice", *tasks)
    started = [replace(task, status="in_progress", assignee="alice") for task in tasks]
    run.plan("alice", started[1]).plan("alice", replace(started[1], status="completed")).plan("alice", *started[::2])
    run.plan("alice", replace(tasks[0], description="Read it")).plan("alice", PlannedTask("t4", "Thank"))
    run.plan("alice", replace(tasks[0], description="Read all")).plan("alice", deleted=("t4",))
    run.add(PlanChanged("alice", None, "", (tasks[2],)))
    planned = [
        "alice planned 3 tasks",
        "alice began t2: Check it",
        "alice completed t2: Check it (1/3)",
        "alice began t1, t3",
        "alice put back t1: Read it",
        "alice added t4: Thank",
        "alice changed t1: Read all",
        "alice deleted t4",
        "alice gave back t3",
    ]
    assert plain(run)[1:-2] == planned
    assert [told[11:] for told in plain(run, mode="verbose")[3:-2]] == [
        'alice uses read_file {"path": "notes.md"}',
        "alice used read_file (0.5 s): Canberra, since 1913.",
        "bob uses search {}",
        "bob used search (0.5 s), which failed: No network.",
        *planned,
    ]


def test_a_plan_of_earlier_questions_is_known_but_not_told_again() -> None:
    before, run = answering(1).plan("alice", PlannedTask("t1", "Read"), PlannedTask("t2", "Check")), answering(1)
    run.plan("alice", PlannedTask("t1", "Read", status="completed", assignee="alice"))
    run.facts.insert(0, before.facts[-1])
    assert plain(run)[:-2] == [
        "asked alice: What is the capital of Australia, and why is it not Sydney?",
        "alice completed t1: Read (1/2)",
    ]


def test_a_long_sessions_name_is_told_in_full() -> None:
    assert plain(answering(1), "/home/user/" + "x" * 200)[-1].endswith("session /home/user/" + "x" * 200)


def test_nothing_is_shown_where_nothing_is_wanted_or_nowhere_to_show_it() -> None:
    stream = io.StringIO()
    for display in (open_display("none", stream), open_display("auto", None)):
        with display:
            assert isinstance(display, NoView)
            display.fact(answering(1).facts[0])
            display.delta("alice", TextDelta("x"))
    assert stream.getvalue() == ""


def test_characters_that_the_stream_cannot_encode_are_replaced() -> None:
    raw = io.BytesIO()
    run = answering(1).fail("alice", "日本 ü no")
    with open_display("plain", io.TextIOWrapper(raw, "ascii", write_through=True), clock=lambda: run.at) as display:
        for recorded in run.facts:
            display.fact(recorded)
    assert b"alice failed: ?? ? no" in raw.getvalue()


def test_a_stream_that_breaks_or_is_closed_goes_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    broken, closed = os.fdopen(writer, "w"), io.StringIO()
    closed.close()
    for stream in (broken, closed):
        with open_display("auto", stream) as display:
            for recorded in whole(3).facts:
                display.fact(recorded)
    with pytest.raises(BrokenPipeError):
        broken.close()


def test_the_readmes_picture_is_what_the_view_draws_now() -> None:
    svg = pictures.live_view()
    assert pictures.LIVE_VIEW.read_bytes() == svg.encode()
    assert "url(http" not in svg
    assert "@font-face" not in svg
