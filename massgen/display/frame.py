"""One frame of the live view, painted from a `View`: lines of styled text that fit the terminal. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, zip_longest

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment, SegmentLines
from rich.style import Style

from massgen.display.cells import Line, beside, cells, counted, end, fit, steady, wrapped
from massgen.display.view import Lane, Mood, View
from massgen.figures import duration, money
from massgen.plan_words import phrases
from massgen.streams import line

NARROWEST = 24
"""A column of fewer cells is hard to read."""
TALLEST = 12
"""Rows of text in a column; the view shares the screen with what was there before."""
CAUSE = 4
"""Rows of a column that say why an agent failed."""

_BOLD, _DIM = Style(bold=True), Style(dim=True)
_MARKS: dict[Mood, Style] = {
    "presenting": Style(color="magenta"),
    "checking": Style(color="magenta"),
    "summarising": Style(color="cyan"),
    "done": Style(color="green"),
    "failed": Style(color="red"),
    "dropped": Style(color="red"),
    "retrying": Style(color="yellow"),
    "thinking": Style(color="cyan"),
    "using": Style(color="cyan"),
    "answered": Style(color="green"),
    "voted": Style(color="green"),
    "waiting": _DIM,
    "left": _DIM,
}
"""What is most worth seeing comes first. Only marks are coloured: no colour is readable as text on every theme."""

_LONG: tuple[Mood, ...] = ("failed", "dropped", "retrying")
"""Moods whose status says why."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The drawing characters, each one cell wide; `moods` in the order of `_MARKS`."""

    bar: str
    rule: str
    dot: str
    cut: str
    moods: str
    progress: str
    """What of a plan is done, and what is not."""

    def of(self, mood: Mood) -> str:
        return self.moods[list(_MARKS).index(mood)]


UNICODE = Glyphs(" │ ", "─", " · ", "…", "★★●★✗✗↻●●✓▸··", "█░")
ASCII = Glyphs(" | ", "-", ", ", "~", "==*#xx%**+>..", "#.")


@dataclass(frozen=True, slots=True)
class Frame:
    """Lines, none wider than the terminal, as something rich can print."""

    lines: list[Line]

    def __rich__(self) -> SegmentLines:
        return SegmentLines(self.lines, new_lines=True)

    def steady(self) -> SegmentLines:
        """As a terminal is sent it, whichever characters it counts or orders otherwise."""
        return SegmentLines([steady(row, (UNICODE.bar, ASCII.bar)) for row in self.lines], new_lines=True)

    def rows(self, width: int) -> int:
        """The rows these lines take on a terminal of `width` columns that wraps them."""
        return sum(max(1, -(-cells(text) // max(1, width))) for text in self.lines)


def paint(view: View, now: float, width: int, height: int, glyphs: Glyphs, *, closing: bool = False) -> Frame:
    """The run as a frame of at most `width` x `height - 1` cells; `closing`: as it remains after the run, above the summary."""
    canvas = _Canvas(view, view.tally, now, width, glyphs)
    head, rule = canvas.header(), canvas.rule()
    if closing:
        return Frame([head, *canvas.table(max(1, height - 6)), *canvas.plans()] if view.lanes else [head])
    rows = min(3, max(1, height // 6))
    foot = [rule, *canvas.footer()[:rows], *canvas.plans()[: rows - 1]]
    room = max(1, height - 1 - 1 - len(foot))
    body = canvas.body(room)
    return Frame([head, *([rule] if 0 < len(body) < room else []), *body, *foot][: max(1, height - 1)])


@dataclass(frozen=True, slots=True)
class _Canvas:
    view: View
    tally: dict[str, int]
    now: float
    width: int
    glyphs: Glyphs

    def header(self) -> Line:
        return self._fit([Segment("massgen ", _BOLD), Segment(self.view.question)])

    def rule(self, title: str = "") -> Line:
        start = f"{self.glyphs.rule * 2} " if title else ""
        line = [Segment(start, _DIM), Segment(title, _BOLD), Segment(" " if title else "")]
        return self._fit([*line, Segment(self.glyphs.rule * (self.width - cells(line)), _DIM)])

    def footer(self) -> list[Line]:
        """Where the team stands, its parts on as few rows as hold them whole."""
        view, use = self.view, self.view.use
        votes = ", ".join(f"{agent} {count}" for agent, count in self.tally.items())
        living = len(view.state.living)
        moods = Counter(view.mood(agent, self.now) for agent in view.lanes)
        failed = moods["failed"] + moods["dropped"]
        done = {"answering": view.answered, "voting": sum(self.tally.values())}.get(view.phase)
        parts = [
            f"{view.phase} {done} of {living}" if done is not None and living else view.phase,
            f"{failed} failed" if failed else "",
            f"{moods['left']} left" if moods["left"] else "",
            f"votes: {votes}" if votes else "",
            duration(int(view.elapsed(self.now))) if view.lanes else "",
            f"{use.input_tokens:,} tokens in, {use.output_tokens:,} out" if use.calls else "",
            money(use),
        ]
        (first, *rest) = self._flowed(filter(None, parts), self.width)
        phase = len(view.phase)
        return [[Segment(first[:phase], _BOLD), Segment(first[phase:])], *([Segment(text)] for text in rest)]

    def plans(self) -> list[Line]:
        """How far the plans are, on one row, if there are any."""
        told = (phrases(name, plan, self.glyphs.progress) for name, plan in self.view.plans.items())
        parts = [line(part, self.width) for each in told for part in each]
        return [self._fit([Segment(self.glyphs.dot.join(parts))])] if parts else []

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
        presents = self.view.phase == "presenting" and self.view.winner in self.view.lanes
        if presents and count > 1 and room > 7 and self.width > 1:
            return self._finale(room - 1)
        bands = -(-count // max(1, (self.width + 3) // (NARROWEST + 3)))
        depth = (room - bands) // bands - 3 if bands else 0
        if self.width > 1 and depth >= (3 if bands > 1 else 1):
            return self._columns(-(-count // bands), min(depth, TALLEST))
        return self.table(room, 2 if room >= 2 * count and self.width < 2 * NARROWEST else 1)

    def _finale(self, room: int) -> list[Line]:
        """The presenter gets the full width."""
        winner = self.view.winner
        table = self.table(min(len(self.view.lanes), max(room // 2, room - 9)), elsewhere=winner)
        text = _rows(self.view.lanes[winner], self.width, min(TALLEST, room - len(table) - 1))
        return [*table, self.rule(f"{winner} presents"), *([Segment(row)] for row in text)]

    def _columns(self, abreast: int, depth: int) -> list[Line]:
        """A column for each agent, in bands of `abreast` of each other."""
        agents, bar = list(self.view.lanes), Segment(self.glyphs.bar, _DIM)
        each = (self.width - 3 * (abreast - 1)) // abreast
        lines: list[Line] = []
        for start in range(0, len(agents), abreast):
            columns = [self._column(agent, each, depth) for agent in agents[start : start + abreast]]
            lines += [self.rule()] if lines else []
            lines += (beside(row, each, bar) for row in zip_longest(*columns, fillvalue=list[Segment]()))
        return lines

    def _column(self, agent: str, width: int, depth: int) -> list[Line]:
        lane, mood = self.view.lanes[agent], self.view.mood(agent, self.now)
        gone = bool(self.view.state.seats[agent].left)
        facts = self._flowed(filter(None, self._facts(agent)), width)[:1] if self.view.use.calls and not gone else []
        *status, last = wrapped(self.view.status(agent, self.now), width)
        if len(status) >= CAUSE:
            status, last = status[: CAUSE - 1], " ".join([*status[CAUSE - 1 :], last])
        name = [self._mark(mood), Segment(agent, _BOLD), Segment(f" {lane.model}", _DIM)]
        head = [name, *([Segment(row)] for row in [*status, last]), *([Segment(row, _DIM)] for row in facts)]
        rows = [fit(row, width, self.glyphs.cut) for row in head]
        if gone:
            return rows
        return rows + [[Segment(row)] for row in _rows(lane, width, max(1, depth + 3 - len(rows)))]

    def _mark(self, mood: Mood) -> Segment:
        return Segment(f"{self.glyphs.of(mood)} ", _MARKS[mood])

    def _facts(self, agent: str) -> tuple[str, str, str, str]:
        """Votes for it, how long its last turn took, tokens it wrote, what it cost."""
        lane, votes = self.view.lanes[agent], self.tally.get(agent, 0)
        return (
            f"{votes} vote{'s' * (votes != 1)}" if votes else "",
            duration(lane.took) if lane.took is not None else "",
            f"{lane.use.output_tokens:,} tokens" if lane.use.calls else "",
            money(lane.use),
        )

    def table(self, room: int, each: int = 1, elsewhere: str = "") -> list[Line]:
        """One row an agent, or two with what it says on the second; the least interesting that find no room are counted.
        What the agent `elsewhere` says is shown there."""
        moods: dict[str, Mood] = {agent: self.view.mood(agent, self.now) for agent in self.view.lanes}
        rank = list(_MARKS).index
        order = sorted(moods, key=lambda agent: (rank(moods[agent]), -self.tally.get(agent, 0)))
        others = [] if len(moods) * each <= room else order[max(0, room - 1) :]
        shown: dict[str, Mood] = {agent: mood for agent, mood in moods.items() if agent not in others}
        lines = self._tall(shown) if each == 2 else self._flat(shown, elsewhere)
        return lines + ([self._others(Counter(moods[agent] for agent in others))] if others else [])

    def _tall(self, shown: Mapping[str, Mood]) -> list[Line]:
        rows = (
            (
                self._head(agent, mood, [Segment(self._status(agent))]),
                [Segment(f"  {self._says(agent, self.width - 2)}")],
            )
            for agent, mood in shown.items()
        )
        return [self._fit(row) for pair in rows for row in pair]

    def _flat(self, shown: Mapping[str, Mood], elsewhere: str) -> list[Line]:
        short = [agent for agent, mood in shown.items() if mood not in _LONG]
        status = max((cell_len(self._status(agent)) for agent in short), default=0)
        left = self.width - cells(self._head("", "waiting", [])) - status - 2
        facts = _fitting([self._facts(agent) for agent in short], left - NARROWEST)
        left -= sum(facts) + 2 * len(facts)
        lines: list[Line] = []
        for agent, mood in shown.items():
            told = [Segment(self._status(agent))]
            says = "" if agent == elsewhere else self._says(agent, left)
            if mood not in _LONG and (facts or says):
                more = "".join(f"  {text.rjust(size)}" for text, size in zip(self._facts(agent), facts, strict=False))
                told = [Segment(set_cell_size(told[0].text, status)), Segment(more, _DIM), Segment(f"  {says}")]
            lines.append(self._fit(self._head(agent, mood, told)))
        return lines

    def _head(self, agent: str, mood: Mood, told: Line) -> Line:
        """Mark and name, the names as wide as the longest, and what is `told`."""
        width = min(max(map(cell_len, self.view.lanes), default=0), max(4, self.width // 3))
        return [self._mark(mood), Segment(f"{set_cell_size(self._cut(agent, width), width)} ", _BOLD), *told]

    def _status(self, agent: str) -> str:
        status = self.view.status(agent, self.now)
        return status.replace("voted for ", "voted ") if self.width < 40 else status

    def _says(self, agent: str, width: int) -> str:
        """The end of what streams, the beginning of what is settled; nothing where it would be too little to read."""
        lane = self.view.lanes[agent]
        if width < 12 or self.view.state.seats[agent].left:
            return ""
        text = counted(line(lane.text if lane.settled else lane.text.rstrip()[-3 * width :], 3 * width))
        if lane.settled or cell_len(text) <= width:
            return self._cut(text, width)
        return self.glyphs.cut + end(text, width - 1)

    def _others(self, moods: Counter[Mood]) -> Line:
        counts = ", ".join(f"{count} {mood}" for mood, count in moods.most_common())
        return self._fit([Segment(f"+{moods.total()} more: {counts}", _DIM)])

    def _cut(self, text: str, width: int) -> str:
        return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + self.glyphs.cut

    def _fit(self, row: Line) -> Line:
        return fit(row, self.width, self.glyphs.cut)


def _rows(lane: Lane, width: int, depth: int) -> list[str]:
    """The first `depth` rows of a settled text, the last of a streaming one, wrapped to `width` cells."""
    rows: list[str] = []
    paragraphs = lane.text.strip().split("\n")
    for paragraph in paragraphs if lane.settled else reversed(paragraphs):
        broken = wrapped(paragraph.rstrip(), width)
        rows = rows + broken if lane.settled else broken + rows
        if len(rows) >= depth:
            break
    return rows[:depth] if lane.settled else rows[-depth:]


def _fitting(rows: list[tuple[str, ...]], room: int) -> list[int]:
    """The widths of as many of the columns of `rows` as fit `room`, two cells before each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        size for size, needed in zip(widths, accumulate(size + 2 for size in widths), strict=True) if needed <= room
    ]
