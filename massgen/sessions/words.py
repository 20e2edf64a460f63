"""Words of texts, to search for: whatever their case and accents; Chinese, Japanese and Thai by characters. Pure."""

import re
import unicodedata
from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

from massgen.errors import UsageError

Piece: TypeAlias = tuple[tuple[str, ...], bool]
"""Words in a row, and whether the last is only a beginning."""

MAX_WORDS = 100
"""That a search may look for."""
AROUND = 70
"""Characters shown on either side of what is found."""

_SINGLE = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_SINGLE}]|[^\W_{_SINGLE}]{{1,64}}")
_RUN = re.compile(r"[\w\u0300-\u036f]+")
_MARKS = re.compile("[\u0300-\u036f]+")


def parsed(words: str) -> list[Piece]:
    """What to look for: words, "words in a row", beginnings*. Raises `UsageError` if there is no word."""
    pieces: list[Piece] = []
    for quoted, star, plain in re.findall(r'"([^"]*)"(\*?)|([^\s"]+)', words):
        if found := tokens(quoted or plain):
            pieces.append((tuple(found), bool(star) or plain.endswith("*")))
    count = sum(len(found) for found, _ in pieces)
    if not 0 < count <= MAX_WORDS:
        raise UsageError(
            f"there are {count or 'no'} words to search for in {words[:60]!r}", fix=f"Name 1 to {MAX_WORDS}."
        )
    return pieces


def tokens(text: str) -> list[str]:
    """The words of `text`, without case and accents."""
    return _WORD.findall(text.lower() if text.isascii() else _plain(text))


def _plain(text: str) -> str:
    return _MARKS.sub("", unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()))


def matching(pieces: Iterable[Piece]) -> str:
    """In the language of FTS5."""
    return " AND ".join(f'"{" ".join(words)}"{"*" if begins else ""}' for words, begins in pieces)


def part(body: str, piece: Piece) -> str:
    """The part of `body` around the first place of `piece`, on one line."""
    start = max(0, _place(body, piece) - AROUND)
    end = start + 2 * AROUND
    return f"{'...' * (start > 0)}{' '.join(body[start:end].split())}{'...' * (end < len(body))}"


def _place(body: str, piece: Piece) -> int:
    words, begins = piece
    seen = deque[tuple[int, str]](maxlen=len(words))
    for run in _RUN.finditer(body):
        for word in tokens(run[0]):
            seen.append((run.start(), word))
            said = tuple(each for _, each in seen)
            if said == words or (begins and said[:-1] == words[:-1] and word.startswith(words[-1])):
                return seen[0][0]
    return 0
