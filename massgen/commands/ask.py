"""`massgen "question"`: a team answers it."""

import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from massgen import __version__, sessions
from massgen.commands import ask_question
from massgen.commands.ask_continue import agree, introduce, meant, root_of, terminal, unusable
from massgen.commands.ask_output import Lines, deliver, is_file, log_to_stderr, why
from massgen.commands.options import Options, options
from massgen.console import check_writable, defect, fetching, tell
from massgen.errors import ConfigError, Exit, MassgenError, UsageError

if TYPE_CHECKING:
    from massgen.config.loading import Loaded
    from massgen.conversation import Conversation, Result
    from massgen.display import Display
    from massgen.log import Sink
    from massgen.messages import ToolCall
    from massgen.planning import Change
    from massgen.state import State

_EPILOG = """
Exit codes: 0 answer; 1 no answer; 2 usage, configuration, session or model file; 3 cut short, the best answer so far;
130 interrupted.
"""


@click.command(epilog=_EPILOG, no_args_is_help=False)
@options
@click.version_option(__version__, message="massgen %(version)s")
@click.help_option("-h", "--help")
@click.argument("question", nargs=-1, metavar="[QUESTION]")
def command(**given: Any) -> int:
    """A team of language-model agents answers QUESTION together.

    Without QUESTION on a terminal you talk with the team; elsewhere, or with -, it is read from stdin. The final answer
    alone goes to stdout. Without --config or --model the team is that of your own configuration (massgen init writes it).
    Without that, and without any provider's key in the environment, it runs on a small model embedded in massgen.

    Other commands: massgen sessions, replay, verify, plan, mcp, init, config, examples, limits, models, completion.
    """
    asking = _Asking(Options(**given))
    try:
        return asking.run()
    except (MassgenError, click.ClickException):
        raise
    except Exception as error:  # noqa: BLE001 - the edge of the command: what nobody foresaw is told as such
        tell(
            defect(
                error,
                asking.redact,
                in_full=asking.options.debug or bool(os.environ.get("MASSGEN_DEBUG")),
                session=asking.session,
            )
        )
        return Exit.NO_ANSWER


@dataclass(slots=True)
class _Asking:
    """One question on its way; what is known of it so far, for whoever must report a defect."""

    options: Options
    session: Path | None = None
    chosen: str = ""
    """Why it is that session, if the user did not name it."""
    lines: "Lines | None" = None
    redact: Callable[[str], str] = str
    loaded: "Loaded | None" = None
    plan: "Change | None" = None
    view: "Display | None" = None
    """What shows the run, since it began."""

    def run(self) -> int:
        options = self.options
        options.check()
        if is_file(options.output):
            check_writable(options.output)
        words, self.plan = options.question, _plan(options.plan)
        if options.resume is not None:
            found = meant(options)
            self.session, self.chosen, words = found.session, found.why, found.words
        question, talking = "", ask_question.talks(words)
        if talking:
            options.check_talk()
        else:
            question = ask_question.read(words, self.session)
        loaded = self._loaded() if self.session is None else self._chosen
        gc.enable()
        signal.signal(signal.SIGTERM, _interrupt)
        from massgen.interrupts import run

        try:
            return run(self._converse(loaded, question, talking=talking))
        except ConfigError as error:
            raise error if options.resume is None else unusable(error, options) from None
        except KeyboardInterrupt:
            if self.session is None:
                raise
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            tell(f"massgen: interrupted; to go on: massgen --continue {sessions.reference(self.session)}")
            return Exit.INTERRUPTED

    async def _converse(self, loaded: "Loaded | Callable[[State], Loaded]", question: str, *, talking: bool) -> int:
        from massgen.conversation import Conversation
        from massgen.streams import safe
        from massgen.team import quiet

        options = self.options
        progress = quiet if options.quiet else fetching(sys.stderr)
        approve = self._approve if terminal() else None
        async with Conversation(
            loaded, session=self.session, session_dir=root_of(options), progress=progress, approve=approve
        ) as conversation:
            if talking:
                return await self._talk(conversation)
            if not options.quiet:
                introduce(conversation, self.chosen)
            if conversation.state.unfinished:
                agree(conversation)
                result = await self._followed(conversation.finish)
                if not question or not result.answer:
                    return self._report(result, conversation.state.asked.question if conversation.state.asked else "")
                self._remark(result)
                tell(f"massgen: the question before is answered now:\n{safe(result.answer)}\n")
            elif not question:
                was = (
                    "the last question of the session is answered" if conversation.state.asked else "nothing was asked"
                )
                raise UsageError(
                    was,
                    where=str(conversation.folder),
                    fix='Ask the next one: massgen --continue "question"; to read it: massgen sessions show',
                )
            ask = partial(conversation.ask, question, context=options.context, plan=self.plan)
            return self._report(await self._followed(ask), question)

    async def _talk(self, conversation: "Conversation") -> int:
        from massgen.commands.interactive import interact

        options = self.options
        return await interact(
            conversation, open_display=self._display, why=why, context=options.context, quiet=options.quiet
        )

    async def _followed(self, perform: "Callable[..., Awaitable[Result]]") -> "Result":
        """What `perform` brings, shown while it comes."""
        with ExitStack() as stack:
            return await perform(sinks=partial(self._followers, stack))

    async def _approve(self, agent: str, call: "ToolCall") -> str:
        from massgen.approval import Terminal

        return await Terminal(self.view.paused if self.view else nullcontext)(agent, call)

    def _chosen(self, state: "State") -> "Loaded":
        """The configuration to go on with: the session's own unless the command line names one, or a profile of its file."""
        from massgen.app import its_own

        options = self.options
        if options.config or options.quick or not (state.asked and state.asked.config):
            return self._loaded()
        return self._changed(its_own(state, str(self.session), options.profile_name))

    def _loaded(self) -> "Loaded":
        """The configuration in force. Also learns what is secret in it."""
        from massgen.app import own_config, resolve
        from massgen.config.loading import parse
        from massgen.quick import quick

        options = self.options
        if options.quick:
            loaded = parse(quick(options.model, options.backend, options.base_url, options.system_message))
        else:
            loaded = resolve(options.config or None, options.profile_name)
            if not options.config and not own_config() and not options.quiet:
                tell(_EMBEDDED)
        return self._changed(loaded)

    def _changed(self, loaded: "Loaded") -> "Loaded":
        """`loaded` with what the command line says of it."""
        from massgen.allowances import switched
        from massgen.app import planned, timed
        from massgen.backends.providers import PROVIDERS
        from massgen.config.loading import environment
        from massgen.log import redactor

        options, env = self.options, environment()
        loaded = planned(loaded, "team") if self.plan else loaded
        self.loaded = loaded
        keys = (env.get(name) or "" for provider in PROVIDERS.values() for name in provider.key_variables)
        self.redact = redactor([*loaded.secrets, *keys])
        loaded = loaded if options.rate_limit is None else switched(loaded, options.rate_limit)
        if options.debug:
            log_to_stderr(self.redact, loaded)
        if options.yes:  # for this run: what is recorded stays, lest the next one did it unasked
            loaded = replace(loaded, config=loaded.config.model_copy(update={"tool_approval": "always"}))
        return loaded if options.timeout is None else timed(loaded, options.timeout)

    def _followers(self, stack: ExitStack, session: Path) -> "Sequence[Sink]":
        display = stack.enter_context(self._display(session))
        if self.options.as_json and not is_file(self.options.output):
            self.lines = Lines(session)
        return [*filter(None, [self.lines]), display]

    def _display(self, session: Path) -> "AbstractContextManager[Sink]":
        from massgen.display import open_display

        self.session = session
        mode = self.options.mode(self.loaded.config.ui.display_type if self.loaded else "")
        self.view = open_display(mode, sys.stderr, session=str(session))
        return self.view

    def _remark(self, result: "Result") -> None:
        if not self.options.quiet:
            for note in result.notes:
                tell(f"massgen: {note}")
        if result.exit_code is not Exit.ANSWER:
            tell(f"massgen: {why(result)}")

    def _report(self, result: "Result", question: str) -> int:
        self._remark(result)
        if self.lines and self.lines.error:
            raise self.lines.error
        if text := self._text(result, question):
            deliver(text, self.options.output, result.session)
        return result.exit_code

    def _text(self, result: "Result", question: str) -> str:
        from massgen.log import line, read
        from massgen.report import render
        from massgen.resuming import last_run
        from massgen.sessions import LOG_NAME

        if not self.options.as_json:
            return render(result, question, self.options.form or "text")
        lines = map(line, last_run(read(result.session / LOG_NAME))) if is_file(self.options.output) else ()
        return "\n".join(lines)


_EMBEDDED = (
    "massgen: no configuration and no key, so a small embedded model answers: good for trying things, often wrong"
)


def _interrupt(number: int, frame: object) -> None:
    signal.raise_signal(signal.SIGINT)


def _plan(file: str) -> "Change | None":
    if not file:
        return None
    import time

    from massgen.planning.files import read

    return read(Path(file), round(time.time(), 3))
