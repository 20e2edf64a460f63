"""Ctrl-C while a team works: the first cancels the run, which then ends in order; after the second the process ends at once.

asyncio's own answer to the second is to raise in the middle of its loop. A task that was to be woken there sleeps for ever, and the
process hangs as it waits for it: seen in 2 of 60.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from massgen.errors import Exit

GRACE = 1.0
"""Seconds that a second Ctrl-C leaves to what still ends in order."""

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, in a loop of its own. Raises `KeyboardInterrupt` if that was what ended it."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return asyncio.run(work)  # Ctrl-C is ignored, or somebody else's
    presses = _Presses()
    before = signal.signal(signal.SIGINT, presses)
    try:
        return asyncio.run(presses.following(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        presses.last.cancel()
        signal.signal(signal.SIGINT, before)


class _Presses:
    """How often Ctrl-C was pressed, and what follows."""

    def __init__(self) -> None:
        self._count = 0
        self._task: asyncio.Task[Any] | None = None
        self.last = threading.Timer(GRACE, _leave)
        self.last.daemon = True

    async def following(self, work: Coroutine[Any, Any, T]) -> T:
        self._task = asyncio.current_task()
        return await work

    def __call__(self, number: int, frame: object) -> None:
        if self._task is None or self._task.get_loop().is_closed():
            raise KeyboardInterrupt
        self._count += 1
        if self._count == 2:
            self.last.start()
        self._task.get_loop().call_soon_threadsafe(self._task.cancel)


def _leave() -> None:
    """Whatever hangs: what was recorded is on the disk, and servers of tools end with their parent."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
        if sys.stderr.isatty():
            os.write(sys.stderr.fileno(), b"\x1b[?25h")  # the live view hides the cursor
    os._exit(Exit.INTERRUPTED)
