"""The command line: parse, call, print. No logic and no heavy import lives here."""

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

import click

from massgen import __version__
from massgen.errors import Exit, MassgenError, UsageError

if TYPE_CHECKING:
    from massgen.app import Result
    from massgen.events import Recorded
    from massgen.messages import Chunk

MAX_STDIN = 4_000_000
"""Bytes of a question read from stdin: the longest accepted one, in UTF-8."""

_EPILOG = """
Commands: massgen models list | pull [NAME] | path [NAME]

Exit codes: 0 answer; 1 no answer; 2 usage, configuration, session or model file; 3 cut short, the best answer so far;
130 interrupted.
"""


@click.command(epilog=_EPILOG, no_args_is_help=False)
@click.help_option("-h", "--help")
@click.version_option(__version__, message="massgen %(version)s")
@click.option("-c", "--config", metavar="FILE", help="The team: a YAML file, or @examples/NAME.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's facts as JSON lines instead of the answer.")
@click.option("--no-display", is_flag=True, help="Show nothing on stderr while the team works.")
@click.argument("question", nargs=-1, metavar="[QUESTION]")
def ask(question: tuple[str, ...], config: str | None, as_json: bool, no_display: bool) -> int:
    """A team of language-model agents answers QUESTION together.

    Without QUESTION, or with -, it is read from stdin. The final answer alone goes to stdout. Without a configuration and
    without any provider's key in the environment, the team runs on a small model embedded in massgen.
    """
    text = _question(question)
    import asyncio

    from massgen.app import arun, check_question, resolve
    from massgen.display import open_display

    check_question(text)
    loaded = resolve(config)
    if config is None:
        _tell(
            "massgen: no configuration and no key, so a small embedded model answers: good for trying things, often wrong"
        )
    lines = [_Lines()] if as_json else []
    gc.enable()
    signal.signal(signal.SIGTERM, _interrupt)
    with open_display("none" if no_display else "auto", sys.stderr) as display:
        result = asyncio.run(arun(text, loaded, sinks=[*lines, display], progress=fetching(sys.stderr)))
    for note in result.notes:
        _tell(f"massgen: {note}")
    return _report(result, as_json=as_json)


@click.group()
def models() -> None:
    """The models massgen can run by itself."""


@models.command("list")
def list_models() -> None:
    """List the catalogue, and what is here already."""
    from massgen.models import cached, catalogue, find

    default = find()
    for model in catalogue():
        state = "here" if cached(model) else f"{model.size / 1e6:,.0f} MB to fetch"
        mark = " (default)" if model == default else ""
        click.echo(f"{model.name:20} {model.parameters:>5}  {model.licence:10}  {state}{mark}")


@models.command()
@click.argument("name", default="")
def pull(name: str) -> None:
    """Fetch the model NAME and check it."""
    from massgen import models as catalogue

    model = catalogue.find(name)
    show = fetching(sys.stderr)
    click.echo(catalogue.pull(model, lambda done, total: show(model.name, done, total)))


@models.command("path")
@click.argument("name", default="")
def show_path(name: str) -> None:
    """Print where the file of the model NAME is."""
    from massgen.models import cached, find

    model = find(name)
    if (file := cached(model)) is None:
        raise UsageError(f"{model.name} is not here", fix=f"Fetch it: massgen models pull {model.name}")
    click.echo(file)


COMMANDS: dict[str, click.Command] = {"models": models}


def run(arguments: Sequence[str]) -> int:
    """Run the command line with `arguments` and return its exit code. Messages go to stderr."""
    name = arguments[0] if arguments else ""
    try:
        if name in COMMANDS:
            return COMMANDS[name].main([*arguments[1:]], prog_name=f"massgen {name}", standalone_mode=False) or 0
        return ask.main([*arguments], prog_name="massgen", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except MassgenError as error:
        _tell(f"massgen: {error}")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _tell("massgen: interrupted")
        return Exit.INTERRUPTED


def _interrupt(number: int, frame: object) -> None:
    signal.raise_signal(signal.SIGINT)


def _question(words: tuple[str, ...]) -> str:
    if len(words) > 1:
        raise UsageError(
            f"{len(words)} arguments where one question is expected", fix=f'Quote it: massgen "{" ".join(words)[:60]}"'
        )
    if words and words != ("-",):
        _refuse_mistyped_command(words[0])
        return words[0]
    if sys.stdin is None or (sys.stdin.isatty() and not words):
        raise UsageError(
            "no question", fix='Ask one: massgen "What is the capital of France?" (massgen --help tells more)'
        )
    return _stdin()


def _refuse_mistyped_command(word: str) -> None:
    """A question costs money; a mistyped command must not become one."""
    import difflib

    if close := difflib.get_close_matches(word, COMMANDS, 1, 0.8):
        raise UsageError(
            f"no command is called {word!r}; did you mean {close[0]!r}?", fix="A question of one word: pipe it in."
        )


def _stdin() -> str:
    data = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise UsageError(f"the question on stdin is longer than {MAX_STDIN:,} bytes", fix="Shorten it.")
    try:
        return data.decode().strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"stdin is not UTF-8 text (byte {data[error.start]:#04x} at {error.start})") from None


def _report(result: "Result", *, as_json: bool) -> int:
    if result.exit_code is not Exit.ANSWER:
        _tell(f"massgen: {_why(result)}")
    if result.answer and not as_json:
        _print(_shown(result.answer), f"the answer is kept in {result.session}")
    return result.exit_code


def _why(result: "Result") -> str:
    reasons = "".join(f"\n  {agent}: {why}" for agent, why in result.failures.items())
    cause = "time ran out" if result.why == "timeout" else "every agent failed"
    kind = "the best answer so far follows" if result.answer else "there is no answer"
    return f"{cause}; {kind}{reasons}\n  session: {result.session}"


def _shown(text: str) -> str:
    """As the model wrote it, but a terminal gets nothing that could steer it."""
    if sys.stdout is None or not sys.stdout.isatty():
        return text
    from massgen.view import safe

    return safe(text)


def _print(text: str, otherwise: str) -> None:
    """Write to stdout; if that is closed or full, say so and where else the text is."""
    try:
        if sys.stdout is None:
            raise BrokenPipeError("it is closed")
        encoding = sys.stdout.encoding
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        sys.stdout.flush()
    except OSError as error:
        _abandon_stdout()
        raise MassgenError(f"stdout cannot be written ({error.strerror or error}); {otherwise}") from None


def _abandon_stdout() -> None:
    """Else the interpreter flushes it once more at exit, and complains."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(message: str) -> None:
    """A line on stderr, unless that is closed too."""
    try:
        click.echo(message, err=True)
    except OSError:
        sys.stderr = None


class _Lines:
    """The facts as JSON lines on stdout."""

    def fact(self, recorded: "Recorded") -> None:
        from massgen.log import line

        _print(line(recorded), "the facts are in the session's log")

    def delta(self, agent: str, chunk: "Chunk") -> None:
        """Deltas are no facts."""


def fetching(stream: TextIO | None) -> Callable[[str, int, int], None]:
    """A progress line for the download of a file, rewritten in place on a terminal, else one at every tenth."""
    shown = {"tenth": -1, "at": 0.0}

    def show(what: str, done: int, total: int) -> None:
        tenth, now = done * 10 // max(total, 1), time.monotonic()
        live = stream is not None and stream.isatty()
        if tenth == shown["tenth"] and not (live and now - shown["at"] > 0.2):
            return
        shown.update(tenth=tenth, at=now)
        text = f"fetching {what}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
        click.echo(f"\r{text}\x1b[K" if live else text, err=True, nl=not live or done >= total)

    return show
