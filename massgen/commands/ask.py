"""`massgen "question"`: a team answers it."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from massgen import __version__
from massgen.commands.options import Options, options
from massgen.console import check_writable, defect, fetching, put, save, tell
from massgen.errors import Exit, MassgenError, UsageError

if TYPE_CHECKING:
    from massgen.app import Result
    from massgen.events import Recorded
    from massgen.loading import Loaded
    from massgen.log import Sink
    from massgen.messages import Chunk

MAX_STDIN = 4_000_000
"""Bytes of a question read from stdin: the longest accepted one, in UTF-8."""
MAX_RECORD = 2_000
"""Characters of one record of Python's logging that `--debug` shows."""

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

    Without QUESTION, or with -, it is read from stdin. The final answer alone goes to stdout. Without --config or --model
    the team is that of your own configuration (massgen init writes it). Without that, and without any provider's key in the
    environment, it runs on a small model embedded in massgen.

    Other commands: massgen sessions, replay, verify, init, config, examples, limits, models, completion.
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
    lines: "_Lines | None" = None
    redact: Callable[[str], str] = str
    stack: ExitStack = field(default_factory=ExitStack)

    def run(self) -> int:
        options = self.options
        options.check()
        if _is_file(options.output):
            check_writable(options.output)
        question = _question(options.question)
        import asyncio

        from massgen.app import arun, check_question
        from massgen.team import quiet

        check_question(question)
        loaded = self._loaded()
        if options.debug:
            _log_to_stderr(self.redact, loaded)
        gc.enable()
        signal.signal(signal.SIGTERM, _interrupt)
        with self.stack:
            result = asyncio.run(
                arun(
                    question,
                    loaded,
                    context=options.context,
                    sinks=lambda session: self._followers(session, loaded),
                    progress=quiet if options.quiet else fetching(sys.stderr),
                )
            )
        return self._report(result, question)

    def _loaded(self) -> "Loaded":
        """The configuration in force. Also learns what is secret in it."""
        from massgen.allowances import switched
        from massgen.app import own_config, resolve, timed
        from massgen.backends.providers import PROVIDERS
        from massgen.loading import environment, parse
        from massgen.log import redactor
        from massgen.quick import quick

        options, env = self.options, environment()
        if options.quick:
            loaded = parse(quick(options.model, options.backend, options.base_url, options.system_message))
        else:
            loaded = resolve(options.config or None, options.profile_name)
            if not options.config and not own_config() and not options.quiet:
                tell(_EMBEDDED)
        keys = (env.get(name) or "" for provider in PROVIDERS.values() for name in provider.key_variables)
        self.redact = redactor([*loaded.secrets, *keys])
        loaded = loaded if options.rate_limit is None else switched(loaded, options.rate_limit)
        return loaded if options.timeout is None else timed(loaded, options.timeout)

    def _followers(self, session: Path, loaded: "Loaded") -> "Sequence[Sink]":
        from massgen.display import open_display

        self.session = session
        mode = self.options.mode(loaded.config.ui.display_type)
        display = self.stack.enter_context(open_display(mode, sys.stderr, session=str(session)))
        if self.options.as_json and not _is_file(self.options.output):
            self.lines = _Lines(session)
        return [*filter(None, [self.lines]), display]

    def _report(self, result: "Result", question: str) -> int:
        if not self.options.quiet:
            for note in result.notes:
                tell(f"massgen: {note}")
        if result.exit_code is not Exit.ANSWER:
            tell(f"massgen: {_why(result)}")
        if self.lines and self.lines.error:
            raise self.lines.error
        if text := self._text(result, question):
            _deliver(text, self.options.output, result.session)
        return result.exit_code

    def _text(self, result: "Result", question: str) -> str:
        from massgen.log import line, read
        from massgen.report import render
        from massgen.sessions import LOG_NAME

        if not self.options.as_json:
            return render(result, question, self.options.form or "text")
        facts = read(result.session / LOG_NAME) if _is_file(self.options.output) else []
        return "\n".join(line(fact) for fact in facts)


_EMBEDDED = (
    "massgen: no configuration and no key, so a small embedded model answers: good for trying things, often wrong"
)


def _interrupt(number: int, frame: object) -> None:
    signal.raise_signal(signal.SIGINT)


def _is_file(output: str) -> bool:
    return output not in ("", "-")


def _question(words: tuple[str, ...]) -> str:
    if len(words) > 1:
        raise UsageError(
            f"{len(words)} arguments where one question is expected", fix=f'Quote it: massgen "{" ".join(words)[:60]}"'
        )
    if words and words != ("-",):
        return words[0]
    if sys.stdin is None or (sys.stdin.isatty() and not words):
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


def _deliver(text: str, output: str, session: Path) -> None:
    """To the file `output`, or to stdout: also what the file does not take, lest an answer that was paid for is lost."""
    if not _is_file(output):
        put(text, f"the answer is kept in {session}")
        return
    try:
        save(output, text)
    except OSError as error:
        put(text, f"{output} neither; the answer is kept in {session}")
        raise MassgenError(
            f"the output file cannot be written ({error.strerror or error}); the answer went to stdout", where=output
        ) from None


def _why(result: "Result") -> str:
    reasons = "".join(f"\n  {agent}: {why}" for agent, why in result.failures.items())
    cause = "time ran out" if result.why == "timeout" else "every agent failed"
    kind = "the best answer so far follows" if result.answer else "there is no answer"
    return f"{cause}; {kind}{reasons}\n  session: {result.session}"


def _log_to_stderr(redact: Callable[[str], str], loaded: "Loaded") -> None:
    """Our package's logging in full and others' warnings, without secrets and each record bounded."""
    import logging
    import platform

    from massgen.streams import safe

    class Safe(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return safe(redact(super().format(record))[:MAX_RECORD])

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Safe("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    ours = logging.getLogger("massgen")
    ours.setLevel(logging.DEBUG)
    ours.debug("massgen %s, Python %s, %s", __version__, platform.python_version(), platform.platform())
    ours.debug("configuration %s, profile %r: %s", loaded.files, loaded.profile, loaded.source)


@dataclass(slots=True)
class _Lines:
    """The facts as JSON lines on stdout, until that cannot be written any more."""

    session: Path
    error: MassgenError | None = None

    def fact(self, recorded: "Recorded") -> None:
        from massgen.log import line

        if self.error is None:
            try:
                put(line(recorded), f"the facts are kept in {self.session}")
            except MassgenError as error:
                self.error = error

    def delta(self, agent: str, chunk: "Chunk") -> None:
        """Deltas are no facts."""
