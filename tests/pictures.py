"""Draws the pictures of the README from fixed facts: `python -m tests.pictures` writes them."""

import io
import re
from pathlib import Path

from rich.console import Console

from massgen.events import VotingOpened
from massgen.frame import UNICODE, paint
from massgen.messages import TextDelta
from massgen.view import View
from tests.facts import Run, answering

LIVE_VIEW = Path(__file__).parent.parent / "handbook" / "assets" / "live-view.svg"


def live_view() -> str:
    """The live view as SVG, without the fonts that rich would fetch from another origin."""
    run = _run()
    view = View()
    for recorded in run.facts:
        view.fact(recorded)
    view.delta("carol", TextDelta("Both answers name Canberra. The first also says why: a compromise between rivals, "))
    view.delta("carol", TextDelta("written into section 125 of the constitution. I check the dates before I vote"))
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(paint(view, run.at + 3, 100, 30, UNICODE), end="")
    svg = console.export_svg(title="massgen", unique_id="massgen")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def _run() -> Run:
    run = answering(3)
    run.answer("alice").answer("carol", "Canberra, since 1913.").answer("bob", "Canberra: Sydney was too near the sea.")
    run.add(VotingOpened("all answered"))
    run.begin("decide").vote("alice", "alice", "it names the compromise and the year")
    run.vote("bob", "alice", "more complete than mine")
    return run


if __name__ == "__main__":
    LIVE_VIEW.parent.mkdir(parents=True, exist_ok=True)
    LIVE_VIEW.write_bytes(live_view().encode())
