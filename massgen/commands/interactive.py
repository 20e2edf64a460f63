"""The interactive mode: questions to a team in a conversation, one after the other, on a terminal."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from massgen import paths, sessions
from massgen.attachments import attach
from massgen.commands import interactive_told as told
from massgen.commands.interactive_history import Past
from massgen.commands.interactive_input import Interrupted, Lines, Reader, unheard
from massgen.commands.interactive_words import Command, parse, usage
from massgen.console import put, tell
from massgen.errors import Exit, MassgenError, UsageError
from massgen.interrupts import Presses
from massgen.log import Sink, redactor
from massgen.streams import safe

if TYPE_CHECKING:
    from massgen.conversation import Conversation, Result, Sinks

T = TypeVar("T")

HISTORY = "typed.jsonl"
"""In the data folder: what was typed before."""
PATIENCE = 3
"""Signals that an activity may take to end; with the next one the program ends, whatever hangs."""


async def interact(
    conversation: "Conversation",
    *,
    open_display: Callable[[Path], AbstractContextManager[Sink]],
    why: "Callable[[Result], str]",
    context: Sequence[str | Path] = (),
    quiet: bool = False,
    reader: Reader | None = None,
) -> int:
    """Read questions to `conversation`, which has been entered, and commands, until the user leaves; returns the exit code.

    `open_display` shows a run whose session is in the folder it gets; `why` tells of a run that brought no whole answer.
    `context` goes with the first question. `quiet`: only answers and errors are told. To be run in the main thread.
    Raises `UsageError` for a context that cannot be read, and `MassgenError` if an answer cannot be told.
    """
    attach("", context)
    if reader is None:
        redact = redactor([*conversation.loaded.secrets, *conversation.team.secrets])
        reader = _reader(Past(paths.data_dir() / HISTORY, redact, _warn))
    mode = _Mode(conversation, open_display, why, reader, context, quiet)
    with mode.signals():
        mode.greet()
        try:
            await mode.run()
        finally:
            mode.part()
    return Exit.INTERRUPTED if mode.ended else Exit.ANSWER


@dataclass(slots=True)
class _Mode:
    conversation: "Conversation"
    open_display: Callable[[Path], AbstractContextManager[Sink]]
    why: "Callable[[Result], str]"
    reader: Reader
    context: Sequence[str | Path]
    quiet: bool
    ended: bool = False
    """By a signal."""
    unasked: str = ""
    """The last question, if it failed before it was recorded."""
    agreed: bool = False
    """To what the team would lose of an unfinished run."""
    activity: "asyncio.Task[Any] | None" = None
    presses: Presses = field(default_factory=lambda: Presses(PATIENCE))
    """The signals since it began."""

    async def run(self) -> None:
        interrupted = False
        while not self.ended:
            try:
                text = await self._alone(self.reader.read())
            except EOFError:
                return
            except Interrupted:
                if interrupted:
                    return
                interrupted = True
                if not self.ended:
                    self._say("Ctrl-C again leaves, as does Ctrl-D.")
                continue
            interrupted = False
            if not await self._obey(text):
                return

    async def _obey(self, text: str) -> bool:
        """Whether the mode goes on. Raises `MassgenError` if an answer cannot be told: the next one could not either."""
        result = None
        try:
            match parse(text):
                case Command("quit"):
                    return False
                case Command("retry"):
                    result = await self._retry()
                case Command(name, argument):
                    self._command(name, argument)
                case question if question:
                    result = await self._ask(question)
                case _:
                    pass
        except (MassgenError, click.ClickException) as error:
            _warn(error.format_message() if isinstance(error, click.ClickException) else str(error))
        if result:
            self._show(result)
        return True

    def _command(self, name: str, argument: str) -> None:
        match name:
            case "status":
                tell(told.status(self.conversation))
            case "sessions":
                tell(safe(told.latest(self.conversation.root, _warn)))
            case "export":
                self._export(argument)
            case "config":
                tell(safe(told.settings(self.conversation.loaded)))
            case _:
                tell(usage())

    async def _ask(self, question: str) -> "Result | None":
        before, self.unasked = self.conversation.state.seq, question
        try:
            return await self._turn(lambda sinks: self.conversation.ask(question, context=self.context, sinks=sinks))
        finally:
            if self.conversation.state.seq != before:
                self.unasked, self.context = "", ()

    async def _retry(self) -> "Result | None":
        if self.unasked:
            return await self._ask(self.unasked)
        if self.conversation.state.unfinished:
            self._agree()
            return await self._turn(lambda sinks: self.conversation.finish(sinks=sinks))
        raise UsageError("there is nothing to retry: the last question has its answer")

    def _agree(self) -> None:
        """Raises `UsageError`, once, where this team would lose a part of the unfinished run."""
        from massgen.continuing import losses

        lost = losses(self.conversation.state, self.conversation.team.roster)
        if lost and not self.agreed:
            self.agreed = True
            raise UsageError("; ".join(lost), fix="/retry again goes on all the same.")

    async def _turn(self, begin: "Callable[[Sinks], Coroutine[Any, Any, Result]]") -> "Result | None":
        """What came of it; nothing if it was interrupted."""
        try:
            with unheard(sys.stdin), ExitStack() as stack:
                return await self._alone(begin(lambda folder: [stack.enter_context(self.open_display(folder))]))
        except Interrupted:
            if not self.ended:
                _warn("interrupted; /retry goes on with the question, or ask another")
            return None

    def _show(self, result: "Result") -> None:
        for note in result.notes:
            self._say(f"massgen: {note}")
        if result.exit_code is not Exit.ANSWER:
            _warn(self.why(result))
        if result.answer:
            self._say("")
            put(result.answer, f"the answer is kept in {result.session}")
            self._say("")
            self._say(told.outcome(result), dim=True)
            self._say("")

    def _export(self, argument: str) -> None:
        """As `massgen sessions export` does, options included."""
        from massgen.commands.sessions_export import export

        folder = self.conversation.folder
        if folder is None:
            raise UsageError("there is nothing to export before the first question")
        try:
            words = shlex.split(argument)
        except ValueError as error:
            raise UsageError(f"{argument[:60]!r}: {error}") from None
        file = f"{folder.name}.md" if not words or words[0].startswith("-") else os.path.expanduser(words.pop(0))
        arguments = [str(folder.absolute()), "--output", file, *words]
        if export.main(arguments, "/export", standalone_mode=False, help_option_names=["-h", "--help"]) is None:
            self._say(f"written to {file}")

    def greet(self) -> None:
        conversation = self.conversation
        self._say(f"massgen: {told.team(conversation.team.roster)}. /help tells the commands, /quit leaves.")
        if self.context:
            self._say(f"With the first question goes: {', '.join(map(str, self.context))}")
        if conversation.folder is not None:
            self._say(told.recap(conversation, conversation.folder))

    def part(self) -> None:
        """Tell how to go on another time."""
        folder = self.conversation.folder
        if folder is None or self.quiet:
            return
        again = f"massgen --continue {sessions.reference(folder)}"
        try:
            self._say(f"massgen: {told.tally(told.kept(folder))}; to go on: {again}")
        except MassgenError as error:
            _warn(str(error))

    @contextmanager
    def signals(self) -> Generator[None]:
        """Ctrl-C ends what is being done, and the signals that mean to end the program the mode, too."""
        loop = asyncio.get_running_loop()

        def receive(number: int, frame: object) -> None:
            self.presses.another()
            loop.call_soon_threadsafe(self._signalled, number)

        with ExitStack() as stack:
            stack.callback(self.presses.heeded)
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    stack.callback(signal.signal, number, signal.signal(number, receive))
            yield

    def _signalled(self, number: int) -> None:
        self.ended = self.ended or number != signal.SIGINT
        if self.activity and not self.activity.cancelling():
            self.activity.cancel()

    async def _alone(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` as what a signal ends: it then raises `Interrupted`."""
        self.activity = asyncio.create_task(work)
        try:
            return await self.activity
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current and current.cancelling():
                raise
            raise Interrupted from None
        finally:
            self.activity = None
            self.presses.heeded()

    def _say(self, text: str, *, dim: bool = False) -> None:
        if not self.quiet:
            bare = (
                not dim
                or sys.stderr is None
                or not sys.stderr.isatty()
                or os.environ.get("TERM") in ("dumb", "unknown")
            )
            tell(safe(text) if bare else f"\x1b[2m{safe(text)}\x1b[0m")


def _warn(problem: str) -> None:
    tell(f"massgen: {safe(problem)}")


def _reader(past: Past) -> Reader:
    """The editor on the terminal; lines where that is too simple for one."""
    terminal = sys.stderr
    if terminal is None or not terminal.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return Lines(sys.stdin.fileno(), terminal)
    from massgen.commands.interactive_editor import Editor, drawn_on  # prompt_toolkit costs 0.1 s

    return Editor(past, output=drawn_on(terminal))
