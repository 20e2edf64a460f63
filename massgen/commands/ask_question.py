"""The question of `massgen "question"`: words, stdin, or a person at a terminal."""

import sys
from pathlib import Path

from massgen.errors import UsageError

MAX_STDIN = 4_000_000
"""Bytes of a question read from stdin: the longest accepted one, in UTF-8."""


def talks(words: tuple[str, ...]) -> bool:
    """Whether a person at a terminal is to ask."""
    return not words and sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()


def read(words: tuple[str, ...], session: Path | None) -> str:
    """The question for that session, or a new one. Raises `UsageError` for what is none; one that goes on needs none."""
    from massgen.conversation import check_question

    question = _given(words, needed=session is None)
    if question or session is None:
        check_question(question)
    return question


def _given(words: tuple[str, ...], *, needed: bool) -> str:
    if len(words) > 1:
        raise UsageError(
            f"{len(words)} arguments where one question is expected", fix=f'Quote it: massgen "{" ".join(words)[:60]}"'
        )
    if words and words != ("-",):
        return words[0]
    if sys.stdin is None or (sys.stdin.isatty() and not words):
        if not needed:
            return ""
        raise UsageError(
            "no question", fix='Ask one: massgen "What is the capital of France?" (massgen --help tells more)'
        )
    return _stdin()


def _stdin() -> str:
    data = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise UsageError(f"the question on stdin is longer than {MAX_STDIN:,} bytes", fix="Shorten it.")
    try:
        return data.decode().strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"stdin is not UTF-8 text (byte {data[error.start]:#04x} at {error.start})") from None
