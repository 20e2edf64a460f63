"""`massgen verify`: a recorded session, held against the rules."""

from typing import TYPE_CHECKING

import click

from massgen import sessions
from massgen.console import put, tell
from massgen.errors import Exit, LogError
from massgen.log import read

if TYPE_CHECKING:
    from massgen.coordination import Rules
    from massgen.events import Asked


@click.command()
@click.argument("session", required=False, default="")
def command(session: str) -> int:
    """Run the coordination of SESSION again and report the first difference.

    SESSION is an id, the beginning of one, a name or a path; without it, the latest. What models said and when time ran out
    is taken from the log; who was asked, what ballots showed, which votes counted, who was chosen and when it stopped must be
    what the rules of its configuration say.

    The exit code is 0 where all facts agree, 1 at a difference, and 2 for a log that cannot be read.
    """
    from massgen.verifying import verify

    path = sessions.find(session) / sessions.LOG_NAME
    facts = read(path)
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
        return Exit.NO_ANSWER
    put(f"{path}: {verified.facts:,} facts agree with the rules", "ask again")
    if verified.due:
        tell(f"massgen: the run has not stopped; now due: {verified.due}")
    return Exit.ANSWER


def _rules(asked: "Asked") -> "Rules":
    """Those that the question was asked under."""
    from pydantic import ValidationError

    from massgen.app import rules
    from massgen.config import OrchestratorConfig

    try:
        return rules(OrchestratorConfig.model_validate(asked.config.get("orchestrator") or {}))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(["orchestrator", *map(str, problem["loc"])])
        raise LogError(f"its configuration is not one this version knows: {where}: {problem['msg']}") from None
