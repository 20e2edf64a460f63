"""Draws the pictures of the README from fixed facts: `python -m tests.pictures` writes them."""

import io
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI, TerminalTheme

from massgen.display.frame import UNICODE, Frame, paint
from massgen.display.view import View
from massgen.events import VotingOpened
from massgen.messages import TextDelta
from tests.facts import Run, answering

ASSETS = Path(__file__).parent.parent / "handbook" / "assets"
LIVE_VIEW, LIVE_VIEW_LIGHT = ASSETS / "live-view.svg", ASSETS / "live-view-light.svg"
LIGHT, DARK = DEFAULT_TERMINAL_THEME, MONOKAI


def svg(frame: Frame, width: int, theme: TerminalTheme) -> str:
    """`frame` in a terminal's window, without the fonts that rich would fetch from another origin."""
    console = Console(
        record=True,
        width=width,
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        no_color=False,
        legacy_windows=False,
    )
    console.print(frame, end="")
    drawn = console.export_svg(title="massgen", theme=theme, unique_id="massgen")
    drawn = drawn.replace("<svg ", '<svg xml:space="preserve" ', 1)  # else some viewers drop the space before a text
    return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


def live_view(theme: TerminalTheme = DARK) -> str:
    """A team of three that votes."""
    run = _run()
    view = View()
    for recorded in run.facts:
        view.fact(recorded)
    view.delta("carol", TextDelta("Both answers name Canberra. The first also says why: a compromise between rivals, "))
    view.delta("carol", TextDelta("written into section 125 of the constitution. I check the dates before I vote"))
    return svg(paint(view, run.at + 3, 100, 30, UNICODE), 100, theme)


def _run() -> Run:
    run = answering(3)
    run.answer("alice").answer("carol", "Canberra, since 1913.").answer("bob", "Canberra: Sydney was too near the sea.")
    run.add(VotingOpened("all answered"))
    run.begin("decide").vote("alice", "alice", "it names the compromise and the year")
    run.vote("bob", "alice", "more complete than mine")
    return run


if __name__ == "__main__":
    ASSETS.mkdir(parents=True, exist_ok=True)
    LIVE_VIEW.write_bytes(live_view().encode())
    LIVE_VIEW_LIGHT.write_bytes(live_view(LIGHT).encode())
