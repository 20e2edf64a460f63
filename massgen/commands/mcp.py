"""`massgen mcp`: massgen's own tools, for any MCP client."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import click

from massgen.console import tell
from massgen.errors import UsageError
from massgen.paths import data_dir


@click.group("mcp")
def command() -> None:
    """massgen's own tools, for any MCP client."""


def _name(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not (0 < len(value.strip()) <= 64 and value.isprintable()):
        raise click.BadParameter("expected a name: a line of at most 64 characters")
    return value and value.strip()


@command.command()
@click.argument("tools", type=click.Choice(["planning"]))
@click.option(
    "--plan",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the plan here, and go on with it. Default: a new file in the data folder.",
)
@click.option("--agent", callback=_name, metavar="NAME", help="You are NAME in a team that shares the plan.")
def serve(tools: str, plan: Path | None, agent: str | None) -> None:
    """Serve TOOLS on stdin and stdout, to the MCP client that starts this.

    `planning`: tasks that wait for one another, claimed and completed. Every change is in FILE before it is answered, and
    several processes may share FILE. With --agent the plan is a team's: it is made once, and a task that one has started no
    other can change. Without, it is yours alone, and can be made anew.

    It ends with stdin, or by Ctrl-C.
    """
    from massgen.servers.plan_file import PlanFile

    if sys.stdin is None or sys.stdout is None:  # the plan's file might get the number of the one that is closed
        raise UsageError(
            "stdin or stdout is closed", fix="Have an MCP client start this command: it talks to it by both."
        )
    path = plan or _new_file()
    file = PlanFile(path, "team" if agent else "agent")
    if plan:
        file.check()
    else:
        tell(f"massgen: the plan is kept in {path}; go on with it by --plan")
    if sys.stdin.isatty():
        tell(
            "massgen: stdin is a terminal, and an MCP client is waited for: let one start this command. Ctrl-C ends it."
        )
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    from massgen.servers.planning import planning_server
    from massgen.servers.stdio import serve_stdio

    asyncio.run(serve_stdio(planning_server(file.call, agent or "agent")))


def _new_file() -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return data_dir() / "plans" / f"{stamp}-{os.urandom(3).hex()}.jsonl"
