"""The live view: a run as a frame that is redrawn in place, on terminals that can move their cursor."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import IO, Protocol, Self, cast

from rich.console import Console, ConsoleDimensions
from rich.live import Live

from massgen.display.frame import ASCII, UNICODE, Frame, paint
from massgen.display.view import View, summary
from massgen.events import Recorded
from massgen.messages import Chunk

FRAMES_PER_SECOND = 8
BACKLOG = 4_096
"""Chunks that may wait to be drawn; a terminal that stops taking output (Ctrl-S) loses the later ones."""


class Terminal(Protocol):
    """The stream drawn on. Its failures are its own business."""

    encoding: str

    def write(self, text: str) -> int: ...
    def flush(self) -> None: ...
    def wraps(self, stream: object) -> bool: ...
    def size(self) -> tuple[int, int]: ...


class _Whole:
    """Writes each frame at once and with line wrap off: characters wider than counted are cut, not wrapped, so the
    frame keeps its height."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.encoding, self.flush = terminal.encoding, terminal.flush
        self.first = ""
        """What the next frame begins with."""

    def write(self, text: str) -> int:
        text, self.first = self.first + text, ""
        return self._terminal.write(f"\x1b[?2026h\x1b[?7l{text}\x1b[?7h\x1b[?2026l")


class LiveView:
    """Follows a run in place. The caller's thread only queues; one thread of its own folds and draws, so that a slow
    terminal never holds up the run."""

    def __init__(self, terminal: Terminal, *, clock: Callable[[], float], session: str = "") -> None:
        self._terminal, self._clock, self._session = terminal, clock, session
        self._queue: deque[Recorded | tuple[str, Chunk]] = deque()
        self._view, self._frame = View(), Frame([])
        self._size = terminal.size()
        self._glyphs = UNICODE if terminal.encoding.lower().replace("-", "").startswith("utf") else ASCII
        self._out = _Whole(terminal)
        self._console = Console(file=cast(IO[str], self._out), force_terminal=True, force_interactive=True)
        self._live = self._opened()
        self._still = threading.Lock()
        """Held while a frame is drawn, and while none may be."""
        self._left = threading.Event()
        self._drawing: Future[None] | None = None
        self._pool = ThreadPoolExecutor(1, "live-view")
        self._undo = ExitStack()

    def _opened(self) -> Live:
        return Live(
            self._frame,
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=self._terminal.wraps(sys.stderr),
        )

    def fact(self, recorded: Recorded) -> None:
        if self._drawing and self._drawing.done():
            self._drawing.result()  # raises what ended the drawing: the log drops this sink and notes it
        self._queue.append(recorded)

    def delta(self, agent: str, chunk: Chunk) -> None:
        if len(self._queue) < BACKLOG:
            self._queue.append((agent, chunk))

    def __enter__(self) -> Self:
        if hasattr(signal, "SIGTSTP") and threading.current_thread() is threading.main_thread():
            self._undo.callback(signal.signal, signal.SIGTSTP, signal.signal(signal.SIGTSTP, self._suspend))
        self._resize()
        self._live.start()
        self._drawing = self._pool.submit(self._draw_until_left)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the closing frame and the summary. What goes wrong in drawing them stays in its thread."""
        self._left.set()
        self._pool.submit(self._draw, closing=True)
        self._pool.shutdown()
        self._undo.close()
        self._live.stop()
        self._terminal.write("".join(f"{text}\n" for text in summary(self._view, self._clock(), self._session)))
        self._terminal.flush()

    @contextmanager
    def paused(self) -> Generator[None]:
        """The frame is taken off the screen, and is drawn anew below what was written meanwhile."""
        with self._still:
            self._live.transient = True
            self._live.stop()
            try:
                yield
            finally:
                self._frame = Frame([])
                self._live = self._opened()
                self._live.start()

    def _suspend(self, *_: object) -> None:
        """Ctrl-Z: the shell gets its cursor, and the view hides it again when the run goes on."""
        self._console.show_cursor()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._console.show_cursor(show=False)

    def _draw_until_left(self) -> None:
        while not self._left.wait(1 / FRAMES_PER_SECOND):
            self._draw()

    def _draw(self, *, closing: bool = False) -> None:
        """Fold what is queued; write only a frame that differs from the one on the screen."""
        with self._still:
            while self._queue:
                self._fold(self._queue.popleft())
            self._resize()
            width, height = self._size
            frame = paint(self._view, self._clock(), width, height, self._glyphs, closing=closing)
            if frame != self._frame or self._out.first:
                self._frame = frame
                self._live.update(frame.steady(), refresh=True)

    def _fold(self, item: Recorded | tuple[str, Chunk]) -> None:
        if isinstance(item, Recorded):
            self._view.fact(item)
        else:
            self._view.delta(*item)

    def _resize(self) -> None:
        """Terminals break the old frame's lines anew when they get narrower: erase the rows that this adds."""
        size = self._terminal.size()
        added = self._frame.rows(size[0]) - self._frame.rows(self._size[0])
        if added > 0:
            self._out.first = "\r" + "\x1b[2K\x1b[A" * min(added, size[1])
        self._size, self._console.size = size, ConsoleDimensions(*size)
