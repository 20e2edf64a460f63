"""How a frame reads: what is seen first, on light and dark terminals, with and without colour; pictures of it as SVG."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import Color, blend_rgb
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme

from massgen.display.cells import counted
from massgen.display.frame import ASCII, UNICODE, Frame, Glyphs, paint
from massgen.display.view import Mood, View
from massgen.events import Evaluated, Stopped, TurnFailed
from massgen.messages import TextDelta
from massgen.planning import PlannedTask
from tests.facts import START, Run, answering, presenting, voting, whole
from tests.pictures import DARK, LIGHT, LIVE_VIEW_LIGHT, live_view, svg
from tests.test_display import SNAPSHOTS, failing, finale, mid_vote, painted, streaming, viewed, waiting

Scene = Callable[[int], View]
TERMINALS = {"light": LIGHT, "dark": DARK}
DIMMED = 0.4
"""How far terminals blend dim text into their background: a third to a half."""


def frame_of(view: View, width: int = 80, height: int = 24, glyphs: Glyphs = UNICODE) -> Frame:
    return paint(view, view.began + 3.4 + view.use.calls, width, height, glyphs)


def rows(view: View, width: int = 80, height: int = 24, **options: Any) -> list[str]:
    return painted(view, width, height=height, **options).splitlines()


@pytest.mark.parametrize("scene", [waiting, failing, finale])
@pytest.mark.parametrize(
    ("count", "width", "theme"), [*((n, w, "dark") for n in (1, 3, 10) for w in (80, 140)), (3, 80, "light")]
)
def test_a_picture_of_the_frame_looks_as_it_was_approved(scene: Scene, count: int, width: int, theme: str) -> None:
    path = SNAPSHOTS / f"{scene.__name__}-{count}-{width}-{theme}.svg"
    drawn = svg(frame_of(scene(count), width), width, TERMINALS[theme])
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_bytes(drawn.encode())
        pytest.fail(f"{path.name} was written: look at it, and run the tests without UPDATE_SNAPSHOTS")
    assert drawn == path.read_bytes().decode()


def test_pictures_are_small_and_fetch_nothing() -> None:
    pictures = [*SNAPSHOTS.glob("*.svg"), LIVE_VIEW_LIGHT]
    assert sum(path.stat().st_size for path in pictures) < 1_000_000
    assert not any(
        word in path.read_text("utf-8") for path in pictures for word in ("url(http", "@font-face", "@import")
    )
    assert LIVE_VIEW_LIGHT.read_bytes() == live_view(LIGHT).encode()


def brightness(colour: ColorTriplet) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    parts = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized)
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(style: Style, terminal: TerminalTheme) -> float:
    back = terminal.background_color
    front = (style.color or Color.default()).get_truecolor(terminal)
    front = blend_rgb(front, back, DIMMED) if style.dim else front
    darker, lighter = sorted(map(brightness, (front, back)))
    return (lighter + 0.05) / (darker + 0.05)


def drawn_in(scene: Scene, glyphs: Glyphs = UNICODE) -> list[Segment]:
    frames = [frame_of(scene(count), width, glyphs=glyphs) for count in (1, 3, 10) for width in (20, 80, 140)]
    return [segment for frame in frames for row in frame.lines for segment in row]


@pytest.mark.parametrize("terminal", TERMINALS.values(), ids=TERMINALS)
@pytest.mark.parametrize("scene", [waiting, streaming, mid_vote, failing, finale])
def test_words_are_readable_on_light_and_dark_terminals(scene: Scene, terminal: TerminalTheme) -> None:
    for segment in drawn_in(scene):
        style = segment.style or Style()
        is_mark = segment.text.strip() in UNICODE.moods
        assert contrast(style, terminal) >= (3 if is_mark else 4.5), segment  # WCAG's bounds for graphics and for text
        assert is_mark or not style.color, segment
        assert not style.bgcolor


def moods() -> dict[Mood, View]:
    """A view whose first agent is in that mood."""
    late = answering(2)
    late.add(TurnFailed("alice", late.turns["alice"], "timeout", "longer than 600 s"))
    return {
        "waiting": waiting(2),
        "thinking": viewed(answering(2)),
        "retrying": viewed(answering(2).retry("alice", "HTTP 429", 60)),
        "answered": viewed(answering(2).answer("alice")),
        "voted": viewed(voting(2)),
        "presenting": viewed(presenting(2)),
        "checking": viewed(presenting(2).present("alice").begin("evaluate", ["alice"])),
        "failed": viewed(answering(2).fail("alice", "HTTP 401")),
        "dropped": viewed(late),
        "done": viewed(whole(2)),
        "summarising": viewed(whole(2).ask("And New Zealand?").begin("summarise", ["alice"])),
        "left": viewed(answering(2).interrupt("alice", "bob").resume("bob")),
        "using": viewed(answering(2).use("alice", "read_file")),
    }


def test_without_colour_every_mood_is_told_apart_by_its_words() -> None:
    assert set(moods()) == set(get_args(Mood))
    for width in (20, 80):
        told = {mood: "\n".join(rows(view, width)[1:-2]) for mood, view in moods().items()}
        assert len(set(told.values())) == len(told)
        words = {"done": "won"}
        assert all(words.get(mood, mood) in text for mood, text in told.items()), told


def test_marks_are_one_cell_wide_and_there_is_one_for_every_mood() -> None:
    for glyphs in (UNICODE, ASCII):
        assert [cell_len(glyphs.of(mood)) for mood in get_args(Mood)] == [1] * len(get_args(Mood))
        assert cell_len(glyphs.bar) == 3


def test_ten_agents_on_a_wide_terminal_have_a_column_each() -> None:
    drawn = rows(mid_vote(10), 140)
    assert [row.count("│") for row in drawn if "model-" in row] == [4, 4]


def test_few_agents_on_a_narrow_terminal_stand_above_each_other() -> None:
    drawn = rows(streaming(3), 40, 40)
    assert [drawn.index(row) for row in drawn if "model-" in row] == [2, 7, 14]


def test_the_most_interesting_of_fifty_agents_are_shown_in_their_order() -> None:
    run = answering(50)
    for name in run.names[2:40]:
        run.answer(name)
    run.fail("agent45", "HTTP 401").retry("agent50", "HTTP 429", 90)
    drawn = rows(viewed(run))
    assert [int(row.split()[1].removeprefix("agent")) for row in drawn[1:20]] == [*range(1, 10), *range(41, 51)]
    assert drawn[20:] == ["+31 more: 31 answered", "─" * 80, drawn[-1]]
    assert drawn[-1].startswith("answering 38 of 49 · 1 failed")


def test_the_presenter_is_seen_among_fifty_agents() -> None:
    drawn = rows(viewed(presenting(50), {"agent1": "Canberra, of course."}))
    assert drawn[2].startswith("★ agent1  presenting")
    assert "50 votes" in drawn[2]
    title = drawn.index("── agent1 presents " + "─" * 61)
    assert drawn[title + 1] == "Canberra, of course."


def test_on_a_low_terminal_the_presenter_is_read_in_its_row() -> None:
    drawn = rows(viewed(presenting(3), {"alice": "Canberra, of course."}), height=8)
    (row,) = (row for row in drawn if row.startswith("★"))
    assert row.startswith("★ alice presenting")
    assert row.endswith("Canberra, of course.")


def test_the_footer_says_that_nobody_is_left() -> None:
    run = answering(1).fail("alice", "HTTP 401")
    assert rows(viewed(run))[-1] == "answering · 1 failed · 3 s"
    run.add(Stopped("all failed"))
    assert rows(viewed(run))[-1] == "done · 1 failed · 0 s"


def test_a_long_cause_takes_four_rows_of_its_column() -> None:
    drawn = rows(viewed(answering(3).fail("carol", "the key in CAROL_KEY was refused " * 9)))
    column = [row[54:] for row in drawn[3:-2]]
    assert column[-1].endswith("…")
    assert len(column) == 4


def test_the_footer_counts_who_has_left_the_team_apart_from_who_failed() -> None:
    run = answering(3).fail("carol", "HTTP 401").interrupt("alice", "bob").resume("alice")
    assert rows(viewed(run))[-1].startswith("answering 0 of 1 · 1 failed · 1 left · ")


def test_the_footer_says_that_the_conversation_is_summarised() -> None:
    run = whole(3).ask("And New Zealand?").begin("summarise", ["alice"])
    drawn = rows(viewed(run))
    assert drawn[-1].startswith("summarising · ")
    assert drawn[2].startswith("● alice model-a          │ · bob")


def test_how_far_the_plan_is_stands_below_the_team_on_one_row_and_remains_after_the_run() -> None:
    tasks = [PlannedTask("t1", "Read"), PlannedTask("t2", "Check \x1b[2J" + "it " * 99, depends_on=("t1",))]
    run = answering(2)
    assert not any("plan" in row for row in rows(viewed(run)))
    run.plan("alice", *tasks)
    assert rows(viewed(run))[-1] == "plan ░░ 0/2 · 1 ready, 1 blocked"
    run.plan("alice", replace(tasks[0], status="completed", assignee="alice"))
    run.plan("bob", replace(tasks[1], status="in_progress", assignee="bob"))
    drawn = rows(viewed(run), 60)
    assert drawn[-1].startswith("plan █░ 1/2 · 0 ready, 0 blocked · bob: t2 Check it")
    assert len(drawn[-1]) <= 60
    assert rows(viewed(run), 60, glyphs=ASCII)[-1].startswith("plan #. 1/2, 0 ready")
    assert rows(viewed(run), closing=True)[-1].startswith("plan █░ 1/2")
    assert not any("plan" in row for row in rows(viewed(run), 60, 11)), "there is no room"


def test_plans_of_their_own_stand_beside_each_other() -> None:
    run = answering(2)
    for name in run.names:
        run.plan(name, PlannedTask("t1", "Read", status="completed", assignee=name), plan=name)
    assert rows(viewed(run))[-1] == "alice █ 1/1 · bob █ 1/1"


def test_a_checked_answer_is_the_winners_again() -> None:
    run = presenting(3).present("alice").begin("evaluate", ["alice"])
    run.add(Evaluated("alice", run.turns["alice"], "submit"))
    assert rows(viewed(run.stop()), closing=True)[1].startswith("★ alice won")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f468\U0001f469\U0001f467"),
        ("\u2764\ufe0f\u200d\U0001f525 1\ufe0f\u20e3", "\u2764\U0001f525 1"),
        ("\U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea", "\U0001f44d DE"),
        ("e\u0301 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u0915\u094d\u200d\u0937", None),
    ],
)
def test_what_terminals_count_differently_is_drawn_so_that_they_agree(said: str, shown: str | None) -> None:
    assert counted(said) == (said if shown is None else shown)


RIGHT_TO_LEFT = "\u05e9\u05dc\u05d5\u05dd"


def sent(frame: Frame) -> list[str]:
    return ["".join(segment.text for segment in row) for row in frame.steady().lines]


def test_letters_from_right_to_left_cannot_reorder_the_columns() -> None:
    frame = frame_of(viewed(answering(3), dict.fromkeys(("alice", "bob", "carol"), RIGHT_TO_LEFT)))
    row = next(row for row in sent(frame) if RIGHT_TO_LEFT in row)
    cells = row.split(" │ ")
    assert len(cells) == 3
    assert all(cell.startswith("\u200e") and RIGHT_TO_LEFT in cell for cell in cells)
    assert not any("\u200e" in row for row in sent(frame)[:4])


def test_bars_are_placed_where_terminals_might_count_otherwise() -> None:
    rows = sent(frame_of(viewed(answering(2), {"alice": "ascii\n日本\u0915\u094d\u0937"})))
    assert f"ascii{' ' * 33} │ " in rows
    assert any(row.startswith("日本") and row.endswith("\x1b[39G │ ") for row in rows)


@settings(max_examples=60, deadline=None)
@example(1, 1, "日本")
@example(10, 8, "\U0001f1e9")
@given(st.sampled_from([1, 2, 3, 10, 50]), st.integers(1, 150), st.text(max_size=300))
def test_what_is_sent_has_the_frames_rows_and_no_other_control(count: int, width: int, said: str) -> None:
    run = Run(answering(count).names).ask().begin("answer")
    view = viewed(run)
    view.delta(run.names[0], TextDelta(said))
    frame = paint(view, START + 5, width, 24, UNICODE)
    assert len(frame.steady().lines) == len(frame.lines) <= 23
    controls = [segment for row in frame.steady().lines for segment in row if segment.control]
    assert all(segment.text.endswith("G") for segment in controls)
