"""The error tree. Each error says what happened, where, and what to do, and carries its exit code.

MassgenError            1   no answer
├── UsageError          2   the command or call itself
│   └── ConfigError     2   every problem of a configuration at once
├── LogError            2   a session file that cannot be read or written
├── LocalModelError     2   the embedded model's runtime or file
├── BackendError        1   a model call failed; `transient` says whether trying again may help
│   └── QuotaError      1   a model call that its rate limits never allow
└── ProtocolError       1   a model's replies held no usable act
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum


class Exit(IntEnum):
    """What the command's exit code means."""

    ANSWER = 0
    """The final answer was printed."""
    NO_ANSWER = 1
    """No agent gave an answer; each agent's reason is printed."""
    USAGE = 2
    """The command line, the configuration, a session file or the model file is wrong."""
    PARTIAL = 3
    """Time ran out, or every agent failed, after an answer was given: the best one so far was printed."""
    INTERRUPTED = 130
    """Interrupted by Ctrl-C or SIGTERM."""


class MassgenError(Exception):
    """`what` happened, `where`, and how to `fix` it; joined into one message."""

    exit_code = Exit.NO_ANSWER

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what, where, fix)
        self.what, self.where, self.fix = what, where, fix

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f"\n  {self.fix}" if self.fix else ""
        return f"{place}{self.what}{remedy}"


class UsageError(MassgenError):
    """The command or call is not usable as given."""

    exit_code = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a configuration, and where: as text, `team.yaml:14:5 agents[1].backend.modle: unknown key`."""

    message: str
    key: str = ""
    """As in `agents[1].backend.modle`; empty where it is no single one."""
    file: str = ""
    line: int = 0
    """From 1; 0: the file as a whole, or data that came from none."""
    column: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column} " if self.line else f"{self.file}: " if self.file else ""
        return f"{place}{self.key}: {self.message}" if self.key else f"{place}{self.message}"


class ConfigError(UsageError):
    """A configuration with `problems`, one line each, in the order of the file. `details` are the same, in parts."""

    def __init__(self, problems: Sequence[str | Problem]) -> None:
        self.problems = tuple(str(problem) for problem in problems)
        self.details = tuple(each if isinstance(each, Problem) else Problem(each) for each in problems)
        super().__init__("\n".join(self.problems))


class LogError(MassgenError):
    """A session's log cannot be read or written; its bytes are left as they were."""

    exit_code = Exit.USAGE


class LocalModelError(MassgenError):
    """The embedded model cannot run: its runtime, its file or its process."""

    exit_code = Exit.USAGE


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A response that was an error, for those who read more from it than words; of the body at most its beginning."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class BackendError(MassgenError):
    """A model call failed. `transient`: the same call may succeed later, not before `retry_after` seconds."""

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        fix: str = "",
        transient: bool = False,
        retry_after: float | None = None,
        reply: HttpReply | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.transient, self.retry_after, self.reply = transient, retry_after, reply


class QuotaError(BackendError):
    """A call that can never be sent: the model has no quota, or the call is larger than a limit. Never `transient`."""


class ProtocolError(MassgenError):
    """A model was asked several times and came to no usable act."""
