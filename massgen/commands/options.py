"""What `massgen "question"` can be told on its command line."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click

from massgen.errors import UsageError

if TYPE_CHECKING:
    from massgen.display import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line as given."""

    question: tuple[str, ...]
    config: str
    profile_name: str
    model: tuple[str, ...]
    backend: str
    base_url: str
    system_message: str
    resume: str | None
    """The session to go on with; empty: the latest; None: a new one."""
    session_dir: str
    plan: str
    context: tuple[str, ...]
    output: str
    form: Literal["text", "markdown", "json"] | None
    as_json: bool
    timeout: float | None
    rate_limit: bool | None
    yes: bool
    """Whether the winner may do what cannot be undone without anybody being asked."""
    no_display: bool
    quiet: bool
    verbose: bool
    debug: bool

    @property
    def quick(self) -> bool:
        """Whether the command line itself describes the team."""
        return bool(self.model or self.backend or self.base_url or self.system_message)

    def check(self) -> None:
        """Raises `UsageError` for options that contradict each other."""
        said = {name for name, given in self._exclusive.items() if given}
        for one, other, fix in _CONTRADICTIONS:
            if {one, other} <= said:
                raise UsageError(f"{one} and {other} do not go together", fix=fix)
        if self.context.count("-") > 1 or ("-" in self.context and self.question in ((), ("-",))):
            raise UsageError("stdin can be read only once", fix='As context: massgen --context - "question"')
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise UsageError(f"--timeout {self.timeout:g}: expected seconds, more than 0")

    def check_talk(self) -> None:
        """Raises `UsageError` for options that are of no use where a conversation is held on a terminal."""
        given = {
            "--json": self.as_json,
            "--format": self.form is not None,
            "--output": bool(self.output),
            "--plan": bool(self.plan),
        }
        for name in (name for name, said in given.items() if said):
            raise UsageError(f"{name} needs a question", fix='Ask it on the command line: massgen "question"')

    @property
    def _exclusive(self) -> dict[str, bool]:
        return {
            "--config": bool(self.config),
            "--profile-name": bool(self.profile_name),
            "--model, --backend, --base-url or --system-message": self.quick,
            "--json": self.as_json,
            "--format": self.form is not None,
            "--quiet": self.quiet,
            "--no-display": self.no_display,
            "--verbose or --debug": self.verbose or self.debug,
        }

    def mode(self, display_type: str) -> "Mode":
        """How the run is shown; `display_type` is the configuration's wish."""
        if self.verbose or self.debug:
            return "verbose"
        if self.quiet or self.no_display or display_type == "none":
            return "none"
        return "plain" if display_type == "simple" else "auto"


_QUICK = "--model, --backend, --base-url or --system-message"
_CONTRADICTIONS = (
    ("--config", _QUICK, "Change the file, or give it a profile and choose that by --profile-name."),
    ("--profile-name", _QUICK, "A profile is part of a file: --config FILE --profile-name NAME"),
    ("--json", "--format", "--json prints the run's facts, --format json the result."),
    ("--quiet", "--verbose or --debug", ""),
    ("--no-display", "--verbose or --debug", ""),
)


def _given(
    context: click.Context, option: click.Parameter, value: str | tuple[str, ...] | None
) -> str | tuple[str, ...]:
    """An empty value is a variable that was not set: it must not choose the default, which may cost money."""
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise click.BadParameter("it is empty")
    return "" if value is None else value


def _given_or_absent(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    return None if value is None else "" if value == LATEST else str(_given(context, option, value))


LATEST = "\0"
"""What `--continue` stands for without a value."""

_OPTIONS = (
    click.option("-c", "--config", callback=_given, metavar="FILE", help="The team: a YAML file, or @examples/NAME."),
    click.option("--profile-name", callback=_given, metavar="NAME", help="The file's profile to use (default: $MASSGEN_PROFILE)."),
    click.option("--model", multiple=True, callback=_given, metavar="NAME", help="Ask this model, without a file. Again for a team; N models cost 2N+1 calls or more."),
    click.option("--backend", callback=_given, metavar="TYPE", help="Who serves it, where its name does not say so as gpt-..., claude-... and TYPE/NAME do."),
    click.option("--base-url", callback=_given, metavar="URL", help="Where it is served; without --backend by any OpenAI-compatible server."),
    click.option("--system-message", callback=_given, metavar="TEXT", help="Its own instructions."),
    click.option("--continue", "resume", is_flag=False, flag_value=LATEST, callback=_given_or_absent, metavar="[SESSION]", help="Go on with this session, or with the latest of this folder: an id, its beginning, a name or a path."),
    click.option("--session-dir", callback=_given, metavar="FOLDER", help="Where sessions are kept (default: in the data folder)."),
    click.option("--plan", callback=_given, metavar="FILE", help="Have the team carry out this plan, which massgen plan wrote."),
    click.option("--context", multiple=True, callback=_given, metavar="FILE", help="A text or an image that goes with the question; - is stdin. Repeatable."),
    click.option("-o", "--output", callback=_given, metavar="FILE", help="Write to this file instead of to stdout."),
    click.option("--format", "form", type=click.Choice(["text", "markdown", "json"]), help="The answer alone (text), with question and origin, or the result as JSON."),
    click.option("--json", "as_json", is_flag=True, help="Print the run's facts as JSON lines instead of the answer."),
    click.option("--timeout", type=float, metavar="SECONDS", help="End after so long, with the best answer so far."),
    click.option("--rate-limit/--no-rate-limit", default=None, help="Keep to the providers' rate limits, or do not, whatever the file says."),
    click.option("--yes", is_flag=True, help="Let the winner use tools that cannot be undone, without asking."),
    click.option("--no-display", is_flag=True, help="Show no view of the team at work."),
    click.option("-q", "--quiet", is_flag=True, help="Show nothing but errors."),
    click.option("-v", "--verbose", is_flag=True, help="Show lines: every turn and every model call."),
    click.option("--debug", is_flag=True, help="As -v, with Python's log and the traceback of a defect."),
)  # fmt: skip


def options(command: Callable[..., int]) -> Callable[..., int]:
    """Give `command` every option that `Options` has a field for."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
