"""`massgen "question"`: a team answers it."""

import gc
import signal
import sys
from typing import TYPE_CHECKING

import click

from massgen import __version__
from massgen.console import fetching, put, shown, tell
from massgen.errors import Exit, UsageError

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
def command(question: tuple[str, ...], config: str | None, as_json: bool, no_display: bool) -> int:
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
        tell(
            "massgen: no configuration and no key, so a small embedded model answers: good for trying things, often wrong"
        )
    lines = [_Lines()] if as_json else []
    gc.enable()
    signal.signal(signal.SIGTERM, _interrupt)
    with open_display("none" if no_display else "auto", sys.stderr) as display:
        result = asyncio.run(arun(text, loaded, sinks=[*lines, display], progress=fetching(sys.stderr)))
    for note in result.notes:
        tell(f"massgen: {note}")
    return _report(result, as_json=as_json)


def _interrupt(number: int, frame: object) -> None:
    signal.raise_signal(signal.SIGINT)


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


def _report(result: "Result", *, as_json: bool) -> int:
    if result.exit_code is not Exit.ANSWER:
        tell(f"massgen: {_why(result)}")
    if result.answer and not as_json:
        put(shown(result.answer), f"the answer is kept in {result.session}")
    return result.exit_code


def _why(result: "Result") -> str:
    reasons = "".join(f"\n  {agent}: {why}" for agent, why in result.failures.items())
    cause = "time ran out" if result.why == "timeout" else "every agent failed"
    kind = "the best answer so far follows" if result.answer else "there is no answer"
    return f"{cause}; {kind}{reasons}\n  session: {result.session}"


class _Lines:
    """The facts as JSON lines on stdout."""

    def fact(self, recorded: "Recorded") -> None:
        from massgen.log import line

        put(line(recorded), "the facts are in the session's log")

    def delta(self, agent: str, chunk: "Chunk") -> None:
        """Deltas are no facts."""
