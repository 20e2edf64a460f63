"""`massgen plan`: a team writes a plan and agrees on it, without doing any of it; `massgen plan show` tells how far plans are."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from massgen.commands.ask_output import deliver, is_file, why
from massgen.commands.plan_show import show
from massgen.console import check_writable, fetching, tell
from massgen.errors import Exit, UsageError

if TYPE_CHECKING:
    from massgen.config.loading import Loaded
    from massgen.conversation import Result
    from massgen.planning import Plan

_OF_TOOLS = ("mcp_servers", "tools", "tool_access", "allowed_tools", "exclude_tools")
"""Keys, of a team, an agent or its backend, that say what it may do beside answering."""


class _Plan(click.Group):
    """What begins with no command is a goal, and what goes with it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = (*self.commands, *ctx.help_option_names)
        return super().parse_args(ctx, args if args and args[0] in known else ["make", *args])


@click.command(cls=_Plan, options_metavar="[OPTIONS]", subcommand_metavar='"GOAL" | show [SESSION]')
@click.pass_context
def command(ctx: click.Context) -> None:
    """Have the team plan how GOAL is to be reached, and do none of it; or show the plans of a session.

    Every agent makes a plan, they vote, and the winner's is printed as YAML, which you may change. massgen --plan FILE "go"
    has the team carry it out.
    """


command.add_command(show)


@command.command("make")
@click.option("-c", "--config", default="", metavar="FILE", help="The team: a YAML file, or @examples/NAME.")
@click.option("--profile-name", default="", metavar="NAME", help="The file's profile to use.")
@click.option("-o", "--output", default="", metavar="FILE", help="Write the plan to this file instead of to stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Show nothing but errors.")
@click.argument("goal")
def make(config: str, profile_name: str, output: str, quiet: bool, goal: str) -> int:
    """Plan how GOAL is to be reached."""
    from massgen.conversation import check_question
    from massgen.interrupts import run
    from massgen.planning.files import written

    if is_file(output):
        check_writable(output)
    check_question(goal)
    plan, result = run(_planned(_thinking(config, profile_name), goal, quiet=quiet))
    for note in () if quiet else result.notes:
        tell(f"massgen: {note}")
    if result.exit_code is not Exit.ANSWER:
        tell(f"massgen: {why(result)}")
    if plan is None or not plan.tasks:
        tell(f"massgen: no plan was made ({result.why}); session {result.session}")
        return Exit.NO_ANSWER
    deliver(written(plan).rstrip("\n"), output, result.session)
    if is_file(output):
        tell(f'massgen: a plan of {len(plan.tasks)} tasks; to carry it out: massgen --plan {output} "go"')
    return result.exit_code


def _thinking(config: str, profile: str) -> "Loaded":
    """The configuration, with a plan for each agent, and without any tool that could begin the work."""
    from massgen.app import planned, resolve

    loaded = resolve(config or None, profile)
    if any(agent.backend.type in ("local", "replay") for agent in loaded.config.agents):
        raise UsageError(
            "agents of the types local and replay make no plans",
            fix="Name a team whose models use tools: massgen plan --config FILE GOAL",
        )
    bare: dict[str, Any] = {"mcp_servers": {}, "tools": []}
    agents = [
        agent.model_copy(update={**bare, "backend": agent.backend.model_copy(update={"mcp_servers": {}})})
        for agent in loaded.config.agents
    ]
    team = loaded.config.model_copy(update={**bare, "agents": agents})
    source = _bare(loaded.source)
    source["agents"] = [{**_bare(agent), "backend": _bare(agent["backend"])} for agent in source["agents"]]
    return planned(replace(loaded, config=team, source=source), "agent")


def _bare(section: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded of a section: whoever goes on with the session has no tools either."""
    return {key: value for key, value in section.items() if key not in _OF_TOOLS}


async def _planned(loaded: "Loaded", goal: str, *, quiet: bool) -> "tuple[Plan | None, Result]":
    """The plan that won, if it has one, and what came of the question."""
    from contextlib import ExitStack

    from massgen import prompts
    from massgen.conversation import Conversation
    from massgen.display import open_display

    with ExitStack() as stack:
        async with Conversation(loaded, progress=fetching(sys.stderr)) as conversation:

            def followers(folder: Path) -> list[Any]:
                mode = "none" if quiet else "auto"
                return [stack.enter_context(open_display(mode, sys.stderr, session=str(folder)))]

            result = await conversation.ask(prompts.PLAN_ONLY.format(goal=goal), sinks=followers)
            return conversation.state.plans.get(result.winner), result
