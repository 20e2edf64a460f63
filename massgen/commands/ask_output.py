"""What `massgen "question"` writes beside the view of the run: the answer, the facts, why there is none, Python's log."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from massgen import __version__
from massgen.console import put, save
from massgen.errors import MassgenError

if TYPE_CHECKING:
    from massgen.config.loading import Loaded
    from massgen.conversation import Result
    from massgen.events import Recorded
    from massgen.messages import Chunk

MAX_RECORD = 2_000
"""Characters of one record of Python's logging that `--debug` shows."""


def is_file(output: str) -> bool:
    return output not in ("", "-")


def deliver(text: str, output: str, session: Path) -> None:
    """To the file `output`, or to stdout: also what the file does not take, lest an answer that was paid for is lost."""
    if not is_file(output):
        put(text, f"the answer is kept in {session}")
        return
    try:
        save(output, text)
    except OSError as error:
        put(text, f"{output} neither; the answer is kept in {session}")
        raise MassgenError(
            f"the output file cannot be written ({error.strerror or error}); the answer went to stdout", where=output
        ) from None


def why(result: "Result") -> str:
    reasons = "".join(f"\n  {agent}: {why}" for agent, why in result.failures.items())
    cause = "time ran out" if result.why == "timeout" else "every agent failed"
    kind = "the best answer so far follows" if result.answer else "there is no answer"
    return f"{cause}; {kind}{reasons}\n  session: {result.session}"


def log_to_stderr(redact: Callable[[str], str], loaded: "Loaded") -> None:
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
class Lines:
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
