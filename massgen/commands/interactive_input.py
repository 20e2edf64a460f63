"""How the interactive mode reads what is typed: with an editor, or line by line where the terminal is too simple for one."""

import asyncio
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Protocol, TextIO

MAX_BYTES = 4_000_000
"""Of one text that is typed or pasted: the longest accepted question, in UTF-8. What is longer is refused as one."""
PASTE_SECONDS = 0.05
"""Lines that follow each other within this time were pasted."""
PROMPT, MORE = "> ", "  "


class Interrupted(Exception):
    """Ctrl-C, where there was nothing to clear."""


class Reader(Protocol):
    """Where the questions come from."""

    async def read(self) -> str:
        """The next text. Raises `EOFError` at the end, and `Interrupted`."""
        ...


class Lines:
    """Reads lines, which the terminal itself lets one edit, from the file `fd`; shows its prompts on `stream`."""

    def __init__(self, fd: int, stream: TextIO | None) -> None:
        self._fd, self._stream, self._ended = fd, stream, False

    async def read(self) -> str:
        if self._ended:
            raise EOFError
        try:
            return await self._text()
        except (EOFError, asyncio.CancelledError):
            self._show("\n")
            raise

    async def _text(self) -> str:
        self._show(PROMPT)
        text = await self._pasted()
        while text.endswith("\\\n"):
            self._show(MORE)
            text = text[:-2] + "\n" + await self._pasted()
        return text

    async def _pasted(self) -> str:
        """A line, and those that are there already. What is longer than a question may be is read to its end nevertheless: the
        rest would be the next question."""
        data = piece = b""
        while not self._ended:
            try:
                async with asyncio.timeout(PASTE_SECONDS if piece.endswith(b"\n") else None):
                    piece = await self._piece()
            except TimeoutError:
                break
            except EOFError:
                if not data:
                    raise
                self._ended = True
                break
            data += piece[: MAX_BYTES + 1 - len(data)]
        return data.decode(errors="surrogateescape")

    async def _piece(self) -> bytes:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_reader(self._fd, lambda: ready.done() or ready.set_result(None))
        try:
            await ready
        finally:
            loop.remove_reader(self._fd)
        try:
            data = os.read(self._fd, 65_536)
        except OSError:  # the terminal has gone
            data = b""
        if not data:
            raise EOFError
        return data

    def _show(self, prompt: str) -> None:
        try:
            if self._stream is not None:
                self._stream.write(prompt)
                self._stream.flush()
        except OSError:
            self._stream = None


@contextmanager
def unheard(terminal: TextIO | None) -> Generator[None]:
    """While the team works, what is typed is neither shown, which would tear the view, nor kept: typed blindly, it could
    become a question that costs money. Ctrl-C and Ctrl-Z work."""
    if sys.platform == "win32" or terminal is None or not terminal.isatty():
        yield
        return
    import termios

    fd = terminal.fileno()

    def attempt(change: Callable[..., None], *how: object) -> None:
        with suppress(termios.error):  # the terminal has gone
            change(fd, *how)

    try:
        before = termios.tcgetattr(fd)
    except termios.error:
        yield
        return
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    attempt(termios.tcsetattr, termios.TCSANOW, silent)
    try:
        yield
    finally:
        attempt(termios.tcflush, termios.TCIFLUSH)
        attempt(termios.tcsetattr, termios.TCSANOW, before)
