"""`massgen verify`: a recorded session, held against the rules."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from massgen import sessions
from massgen.commands.session_dir import SESSION_DIR
from massgen.console import put, tell
from massgen.errors import ConfigError, Exit, LogError
from massgen.events import Said, Spent
from massgen.log import read

if TYPE_CHECKING:
    from massgen.coordination import Rules
    from massgen.events import Asked, Resumed


@click.command()
@click.argument("session", required=False, default="")
@SESSION_DIR
def command(session: str, session_dir: Path) -> int:
    """Run the coordination of SESSION again and report the first difference.

    SESSION is an id, the beginning of one, a name or a path; without it, the latest. What models said and when time ran out
    is taken from the log; who was asked, what ballots showed, which votes counted, who was chosen and when it stopped must be
    what the rules of its configuration say.

    The exit code is 0 where all facts agree, 1 at a difference, and 2 for a log that cannot be read.
    """
    from massgen.replay.verifying import verify

    path = sessions.find(session, session_dir) / sessions.LOG_NAME
    facts = [*read(path)]
    if not facts:
        raise LogError("it holds no fact to verify", where=str(path))
    verified = verify(facts, _rules)
    if difference := verified.difference:
        put(
            f"{path}:{difference.seq + 1}: fact {difference.seq} differs from the rules\n"
            f"  the log:   {difference.log}\n"
            f"  the rules: {difference.rules}",
            "ask again",
        )
        if not any(isinstance(recorded.fact, Said | Spent) for recorded in facts):
            tell(
                "massgen: it holds no model call: a session that was imported tells what was said, not all that led to it"
            )
        return Exit.NO_ANSWER
    put(f"{path}: {verified.facts:,} facts agree with the rules", "ask again")
    if verified.due:
        tell(f"massgen: the run has not stopped; now due: {verified.due}")
    return Exit.ANSWER


def _rules(fact: "Asked | Resumed") -> "Rules":
    """Those that a question was asked under, or a run went on by. Variables count as they are set now."""
    from massgen.config.loading import parse
    from massgen.conversation import rules

    section: Any = fact.config.get("orchestrator") or {}
    nobody = {"id": "nobody", "backend": {"type": "local"}}  # who was asked is not needed, nor the keys for that
    try:
        return rules(parse({"agent": nobody, "orchestrator": section}).config.orchestrator)
    except ConfigError as error:
        why = error.details[0]
        raise LogError(f"its configuration is not one this version knows: {why.key}: {why.message}") from None
