"""`massgen replay`: a recorded session, shown again."""

import gc
import math
import signal
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from massgen import sessions
from massgen.commands.session_dir import SESSION_DIR
from massgen.console import put
from massgen.display import open_display
from massgen.display.view import View
from massgen.errors import Exit, LogError
from massgen.events import Recorded, Voted
from massgen.log import read
from massgen.replay.replaying import Delta, Moment, moments

if TYPE_CHECKING:
    from massgen.log import Sink
    from massgen.state import State


SLOWEST = 0.001
"""Of what it was; slower, nobody would see a second fact."""


def _speed(context: click.Context, option: click.Parameter, value: str) -> float:
    try:
        speed = math.inf if value == "instant" else float(value)
    except ValueError:
        speed = -1.0
    if not (speed == 0 or speed >= SLOWEST):
        raise click.BadParameter(f"{value!r} is neither a number from {SLOWEST} on, nor 0 or `instant`")
    return speed or math.inf


@click.command()
@click.argument("session", required=False, default="")
@click.option(
    "--speed",
    callback=_speed,
    default="1",
    metavar="N",
    help="N times as fast as it was; 0 or `instant`: at once. Default: 1.",
)
@SESSION_DIR
def command(session: str, speed: float, session_dir: Path) -> int:
    """Show SESSION again as it happened: the team at work, then the final answer on stdout.

    SESSION is an id, the beginning of one, a name or a path; without it, the latest. Pauses longer than 2 s are shortened to
    2 s. No model is called, nothing is written, and the exit code is that of the run: 130 for one that did not come to its
    end.
    """
    gc.enable()
    folder = sessions.find(session, session_dir)
    facts = [*read(folder / sessions.LOG_NAME)]
    state = _end(facts, folder / sessions.LOG_NAME)
    clock = _Clock((facts[0].at, facts[0].at, 0.0, 0.0))
    shown = open_display("auto", sys.stderr, clock=clock.now, session=str(folder))
    try:
        with _terminable(), shown as display:
            _play(moments(facts, speed), clock, display)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    if state.presented:
        put(state.presented.content, f"the answer is kept in {folder}")
    return _exit_code(state)


@contextmanager
def _terminable() -> Generator[None]:
    """SIGTERM is Ctrl-C, so that the terminal is left in order."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(facts: Sequence[Recorded], path: Path) -> "State":
    """Where the run stood in the end. Raises `LogError` for facts that no run can have recorded."""
    view = View()
    for recorded in facts:
        if not _follows(recorded, view):
            raise LogError(
                "this fact does not follow from those before it",
                where=f"{path}:{recorded.seq + 1}",
                fix=f"massgen verify {path.parent} tells more.",
            )
    if not facts:
        raise LogError("it holds no fact to show", where=str(path))
    return view.state


def _follows(recorded: Recorded, view: View) -> bool:
    """Whether `recorded` may come now, in which case the `view` has seen it."""
    try:
        view.fact(recorded)
        if isinstance(recorded.fact, Voted):
            _ = view.tally
    except (LogError, LookupError, TypeError, ValueError):  # an agent, an answer or a label that there is not
        return False
    return True


@dataclass(slots=True)
class _Clock:
    """Counts as the log's `at` does; read by the display's thread too."""

    passing: tuple[float, float, float, float]
    """The log's time, from when to when, and the monotonic clock's at these two."""

    def now(self) -> float:
        start, end, began, until = self.passing
        share = (time.monotonic() - began) / (until - began) if until > began else 1.0
        return start + (end - start) * min(1.0, share)

    def sleep(self, at: float, until: float) -> None:
        """Until then on the monotonic clock, by when the log's time is `at`."""
        began = time.monotonic()
        self.passing = (self.now(), at, began, until)
        if until > began:  # no system call for each of 100,000 facts
            time.sleep(until - began)


def _play(timed: Iterable[Moment], clock: _Clock, display: "Sink") -> None:
    until = time.monotonic()
    for moment in timed:
        until += moment.wait
        clock.sleep(moment.at, until)
        match moment.shown:
            case Delta(agent, chunk):
                display.delta(agent, chunk)
            case recorded:
                display.fact(recorded)


def _exit_code(state: "State") -> int:
    if state.stopped is None or state.stopped.why == "interrupted":
        return Exit.INTERRUPTED
    from massgen.conversation import (
        exit_code,
    )  # it costs more than all else here, and can wait until the answer is told

    return exit_code(state.stopped.why, answered=state.presented is not None)
