"""One frame of the live view, painted from a `View`: lines of styled text that fit the terminal. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment, SegmentLines
from rich.style import Style

from massgen.view import Lane, Mood, View, duration, line, money

Line: TypeAlias = list[Segment]

NARROWEST = 24
"""A column of fewer cells is hard to read: agents are then stacked."""
TALLEST = 12
"""Rows of text in a column; the view shares the screen with what was there before."""

_BOLD, _DIM = Style(bold=True), Style(dim=True)
_STYLES: dict[Mood, Style] = {
    "waiting": _DIM,
    "thinking": Style(color="cyan"),
    "retrying": Style(color="yellow"),
    "answered": Style(color="green"),
    "voted": Style(color="green"),
    "presenting": Style(color="magenta"),
    "checking": Style(color="magenta"),
    "failed": Style(color="red", bold=True),
    "dropped": Style(color="red", bold=True),
    "done": Style(color="green", bold=True),
}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The drawing characters, each one cell wide; `moods` in the order of `Mood`."""

    bar: str
    rule: str
    dot: str
    cut: str
    moods: str

    def of(self, mood: Mood) -> str:
        return self.moods[list(_STYLES).index(mood)]


UNICODE = Glyphs("│", "─", " · ", "…", "·●↻✓▸★★✗✗■")
ASCII = Glyphs("|", "-", ", ", "~", ".*%+>==xx#")


@dataclass(frozen=True, slots=True)
class Frame:
    """Lines, none wider than the terminal, as something rich can print."""

    lines: list[Line]

    def __rich__(self) -> SegmentLines:
        return SegmentLines(self.lines, new_lines=True)

    def rows(self, width: int) -> int:
        """The rows these lines take on a terminal of `width` columns that wraps them."""
        return sum(max(1, -(-_cells(text) // max(1, width))) for text in self.lines)


def paint(view: View, now: float, width: int, height: int, glyphs: Glyphs, *, closing: bool = False) -> Frame:
    """The run as a frame of at most `width` x `height - 1` cells; `closing`: as it remains after the run."""
    canvas = _Canvas(view, now, width, glyphs)
    head, rule = canvas.header(), [Segment(glyphs.rule * width, _DIM)]
    if closing:
        return Frame([head, *canvas.stacked(max(1, len(view.lanes)), 1)] if view.lanes else [head])
    foot = [rule, *canvas.footer()[: min(3, max(1, height // 6))]]
    room = max(1, height - 1 - 1 - len(foot))
    return Frame([head, *canvas.body(room), *foot][: max(1, height - 1)])


@dataclass(frozen=True, slots=True)
class _Canvas:
    view: View
    now: float
    width: int
    glyphs: Glyphs

    def header(self) -> Line:
        return self._fit([Segment("massgen ", _BOLD), Segment(self.view.question)])

    def footer(self) -> list[Line]:
        """Where the team stands, its parts on as few rows as hold them whole."""
        view, use = self.view, self.view.use
        votes = ", ".join(f"{agent} {count}" for agent, count in view.tally.items())
        parts = [
            view.phase,
            f"{view.answered} of {len(view.lanes)} answered",
            f"votes: {votes}" if votes else "",
            duration(int(view.elapsed(self.now))) if view.lanes else "",
            f"{use.input_tokens:,} in, {use.output_tokens:,} out" if use.calls else "",
            money(use),
        ]
        return [[Segment(text)] for text in self._flowed(filter(None, parts), self.width)]

    def _flowed(self, parts: Iterable[str], width: int) -> list[str]:
        rows: list[str] = []
        for part in parts:
            joined = f"{rows[-1]}{self.glyphs.dot}{part}" if rows else part
            if rows and cell_len(joined) <= width:
                rows[-1] = joined
            else:
                rows.append(self._cut(part, width))
        return rows

    def body(self, room: int) -> list[Line]:
        count = len(self.view.lanes)
        if self.width < 2:  # no room for a wide character
            return self.stacked(room, 1)
        if self.view.phase == "presenting" and count > 1 and room > count + 2:
            return self._finale(room)
        each = (self.width - 3 * (count - 1)) // count if count else 0
        if each >= (NARROWEST if count > 1 else 1) and room > 3:
            return self._columns(each, min(room - 3, TALLEST))
        return self.stacked(room, 2 if room >= 2 * count else 1)

    def _finale(self, room: int) -> list[Line]:
        """The presenter gets the full width."""
        winner = self.view.winner
        text = _rows(self.view.lanes[winner], self.width, min(TALLEST, room - len(self.view.lanes) - 1))
        rule = [Segment(self.glyphs.rule * self.width, _DIM)]
        return [*self.stacked(room, 1), rule, *([Segment(row)] for row in text)]

    def _columns(self, each: int, depth: int) -> list[Line]:
        columns = [self._column(agent, each, depth) for agent in self.view.lanes]
        tall = max(map(len, columns))
        bar = Segment(f" {self.glyphs.bar} ", _DIM)
        rows = (
            _beside([column[row] if row < len(column) else [] for column in columns], each, bar) for row in range(tall)
        )
        return list(rows)

    def _column(self, agent: str, width: int, depth: int) -> list[Line]:
        lane = self.view.lanes[agent]
        name = [Segment(agent, _BOLD), Segment(f" {lane.model}", _DIM)]
        text = _rows(lane, width, depth)
        return [_fit(row, width, self.glyphs.cut) for row in (name, self._status(agent), self._facts(agent, width))] + [
            [Segment(row)] for row in text
        ]

    def _status(self, agent: str) -> Line:
        mood = self.view.mood(agent, self.now)
        return [Segment(f"{self.glyphs.of(mood)} {self.view.status(agent, self.now)}", _STYLES[mood])]

    def _facts(self, agent: str, width: int) -> Line:
        """How many answers, how long the last turn took, tokens out, cost: as many of these as fit."""
        lane, given = self.view.lanes[agent], self.view.state.seats[agent].given
        parts = [
            f"{given} answer{'s' * (given != 1)}" if given else "",
            duration(lane.took) if lane.took is not None else "",
            f"{lane.use.output_tokens:,} tokens" if lane.use.calls else "",
            money(lane.use),
        ]
        return [Segment(next(iter(self._flowed(filter(None, parts), width)), ""), _DIM)]

    def stacked(self, room: int, each: int) -> list[Line]:
        """One row an agent, or two with what it says on the second; those that find no room are counted."""
        agents = list(self.view.lanes)
        shown = agents if len(agents) * each <= room else agents[: max(0, room - 1)]
        longest = max((len(agent) for agent in agents), default=0)
        name_width = min(longest, max(4, self.width // 3))
        lines = [row for agent in shown for row in self._stack(agent, name_width, each)]
        return lines + ([] if len(shown) == len(agents) else [self._others(agents[len(shown) :])])

    def _stack(self, agent: str, name_width: int, each: int) -> list[Line]:
        lane, mood = self.view.lanes[agent], self.view.mood(agent, self.now)
        says = line(lane.text.rstrip()[-3 * self.width :] if not lane.settled else lane.text, 3 * self.width)
        name = set_cell_size(self._cut(agent, name_width), name_width)
        status = self.view.status(agent, self.now)
        status = status.replace("voted for ", "voted ") if self.width < 40 else status
        head = [
            Segment(f"{self.glyphs.of(mood)} ", _STYLES[mood]),
            Segment(name, _BOLD),
            Segment(f" {status}", _STYLES[mood]),
        ]
        if each == 2:
            return [self._fit(head), self._fit([Segment("  "), Segment(self._tail(says, lane, self.width - 2), _DIM)])]
        room = self.width - _cells(head) - 2
        wanted = room >= 12 and mood not in ("failed", "dropped", "retrying")
        return [self._fit([*head, Segment("  " + self._tail(says, lane, room), _DIM)] if wanted else head)]

    def _tail(self, text: str, lane: Lane, width: int) -> str:
        """The end of what streams, the beginning of what is settled."""
        if lane.settled or cell_len(text) <= width:
            return self._cut(text, width)
        return self.glyphs.cut + _end(text, width - 1)

    def _others(self, agents: list[str]) -> Line:
        moods = Counter(self.view.mood(agent, self.now) for agent in agents)
        counts = ", ".join(f"{count} {mood}" for mood, count in moods.most_common())
        return self._fit([Segment(f"+{len(agents)} more: {counts}", _DIM)])

    def _cut(self, text: str, width: int) -> str:
        return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + self.glyphs.cut

    def _fit(self, row: Line) -> Line:
        return _fit(row, self.width, self.glyphs.cut)


def _cells(row: Line) -> int:
    return sum(cell_len(segment.text) for segment in row)


def _fit(row: Line, width: int, cut: str) -> Line:
    """`row` in at most `width` cells, its end replaced by `cut` where it has more."""
    if _cells(row) <= width:
        return row
    return [*Segment.adjust_line_length(row, max(0, width - 1), pad=False), Segment(cut)]


def _beside(cells: list[Line], each: int, bar: Segment) -> Line:
    """One row of the columns, each but the last filled up to `each` cells."""
    row: Line = []
    for cell in cells[:-1]:
        row += [*cell, Segment(" " * (each - _cells(cell))), bar]
    return row + cells[-1]


def _end(text: str, width: int) -> str:
    """The end of `text`, in at most `width` cells."""
    end = text[-width:] if width > 0 else ""
    while end and cell_len(end) > width:
        end = end[1:]
    return end


def _rows(lane: Lane, width: int, depth: int) -> list[str]:
    """The first `depth` rows of a settled text, the last of a streaming one, wrapped to `width` cells."""
    rows: list[str] = []
    paragraphs = lane.text.strip().split("\n")
    for paragraph in paragraphs if lane.settled else reversed(paragraphs):
        wrapped = _wrapped(paragraph.rstrip(), width)
        rows = rows + wrapped if lane.settled else wrapped + rows
        if len(rows) >= depth:
            break
    return rows[:depth] if lane.settled else rows[-depth:]


@lru_cache(256)
def _wrapped(paragraph: str, width: int) -> list[str]:
    """`paragraph` in rows of at most `width` cells, broken between words, within them only where one is too long."""
    rows, row, used = list[str](), None, 0
    for word in paragraph.split(" "):
        size = cell_len(word)
        if row is not None and used + 1 + size <= width:
            row, used = f"{row} {word}", used + 1 + size
            continue
        if row is not None:
            rows.append(row)
        *full, row = chop_cells(word, width) if size > width else [word]
        rows, used = rows + full, cell_len(row)
    return [*rows, row or ""]
