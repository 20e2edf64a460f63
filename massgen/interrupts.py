"""Ctrl-C while a team works: the first cancels the run, which then ends in order; after the second the process ends at once.

asyncio's own answer to the second is to raise in the middle of its loop. A task that was to be woken there sleeps for ever, and the
process hangs as it waits for it: seen in 2 of 60.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from massgen.errors import Exit

GRACE = 1.0
"""Seconds that a second Ctrl-C leaves to what still ends in order."""
FAREWELL = 0.2
"""Seconds that a terminal has to be put in order; one that takes no more output must not hold up the end."""

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, in a loop of its own. Raises `KeyboardInterrupt` if that was what ended it."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return asyncio.run(work)  # Ctrl-C is ignored, or somebody else's
    handler = _Handler()
    before = signal.signal(signal.SIGINT, handler)
    try:
        return asyncio.run(handler.following(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        handler.presses.heeded()
        signal.signal(signal.SIGINT, before)


class Presses:
    """How often something was told to end. From the time after `patience` times on, the process has `GRACE` seconds left to it."""

    def __init__(self, patience: int = 1) -> None:
        self._patience, self._count = patience, 0
        self._tidy = _tidying()
        self._last: threading.Timer | None = None

    def another(self) -> None:
        self._count += 1
        if self._count > self._patience and self._last is None:
            self._last = threading.Timer(GRACE, _leave, [self._tidy])
            self._last.daemon = True
            self._last.start()

    def heeded(self) -> None:
        """It has ended."""
        self._count = 0
        if self._last:
            self._last.cancel()
            self._last = None


class _Handler:
    """Cancels the work at every signal."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self.presses = Presses()

    async def following(self, work: Coroutine[Any, Any, T]) -> T:
        self._task = asyncio.current_task()
        return await work

    def __call__(self, number: int, frame: object) -> None:
        if self._task is None or self._task.get_loop().is_closed():
            raise KeyboardInterrupt
        self.presses.another()
        self._task.get_loop().call_soon_threadsafe(self._task.cancel)


def _leave(tidy: Callable[[], None]) -> None:
    """Whatever hangs: what was recorded is on the disk, and servers of tools end with their parent."""
    farewell = threading.Thread(target=tidy, daemon=True)
    farewell.start()
    farewell.join(FAREWELL)
    os._exit(Exit.INTERRUPTED)


def _tidying() -> Callable[[], None]:
    """What leaves the terminal as it is now: echo and lines, which an editor and a view switch off, and the cursor."""
    settings = _settings()

    def tidy() -> None:
        with suppress(OSError, ValueError, AttributeError):
            if settings != _settings():
                _restore(settings)
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), b"\x1b[?25h")
            sys.stderr.flush()

    return tidy


def _settings() -> Any:
    """Those of the terminal that is typed on; None if there is none."""
    if sys.platform != "win32":
        import termios

        with suppress(termios.error, OSError, ValueError, AttributeError):
            return termios.tcgetattr(sys.stdin.fileno())
    return None


def _restore(settings: Any) -> None:
    if sys.platform != "win32":
        import termios

        with suppress(termios.error):  # it has gone
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, settings)
