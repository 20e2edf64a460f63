"""Text measured in a terminal's cells: fitted, broken into rows, set beside each other. Pure."""

import re
from collections.abc import Container, Sequence
from functools import lru_cache
from typing import TypeAlias

from rich.cells import cell_len, chop_cells
from rich.control import Control
from rich.segment import Segment

Line: TypeAlias = list[Segment]

_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]")
_LEFT_TO_RIGHT = Segment("\u200e")
"""A mark that ends a run of right-to-left letters, so that a terminal which reorders them leaves the columns in place."""

_JOINING = re.compile("[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff]|(?<=[\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d")
_FLAGS = {0x1F1E6 + number: chr(0x41 + number) for number in range(26)}


def counted(text: str) -> str:
    """`text` without what terminals count differently: emoji stand one by one and in yellow, flags are their letters."""
    return text if text.isascii() else _JOINING.sub("", text).translate(_FLAGS)


def cells(row: Line) -> int:
    return sum(cell_len(segment.text) for segment in row)


def fit(row: Line, width: int, cut: str) -> Line:
    """`row` in at most `width` cells, its end replaced by `cut` where it has more."""
    if cells(row) <= width:
        return row
    return [*Segment.adjust_line_length(row, max(0, width - 1), pad=False), Segment(cut)]


def beside(columns: Sequence[Line], each: int, bar: Segment) -> Line:
    """One row of the columns, each but the last filled up to `each` cells."""
    row: Line = []
    for cell in columns[:-1]:
        row += [*cell, Segment(" " * (each - cells(cell))), bar]
    return row + columns[-1]


def end(text: str, width: int) -> str:
    """The end of `text`, in at most `width` cells."""
    kept = text[-width:] if width > 0 else ""
    while kept and cell_len(kept) > width:
        kept = kept[1:]
    return kept


@lru_cache(256)
def wrapped(paragraph: str, width: int) -> list[str]:
    """`paragraph` in rows of at most `width` cells, broken between words, within them only where one is too long."""
    rows, row, used = list[str](), None, 0
    for word in counted(paragraph).split(" "):
        size = cell_len(word)
        if row is not None and used + 1 + size <= width:
            row, used = f"{row} {word}", used + 1 + size
            continue
        if row is not None:
            rows.append(row)
        *full, row = chop_cells(word, width) if size > width else [word]
        rows, used = rows + full, cell_len(row)
    return [*rows, row or ""]


def steady(row: Line, bars: Container[str]) -> Line:
    """`row` with its `bars` where they belong, even on a terminal that counts or orders what is between them otherwise."""
    texts = "".join(segment.text for segment in row if segment.text not in bars)
    if texts.isascii() or all(segment.text not in bars for segment in row):
        return row
    mark = [_LEFT_TO_RIGHT] if _RIGHT_TO_LEFT.search(texts) else []
    kept, column = [*mark], 0
    for segment in row:
        bar = segment.text in bars
        kept += [*mark, Control.move_to_column(column).segment, segment, *mark] if bar else [segment]
        column += cell_len(segment.text)
    return kept
