"""A program that follows a run on its stderr, as `massgen` does: half of it, a line from stdin, the other half.
Arguments: how many agents, what the last of them stream, and optionally `everywhere`: what all of them say, and fail with.
Its stdout is one line, at the end."""

import sys
from dataclasses import replace

from massgen.display import open_display
from massgen.events import Answered, Asked, Member, Presented, Recorded, Retried, TurnFailed, Voted
from massgen.messages import TextDelta
from tests.facts import Run, voting, whole


def saying(run: Run, text: str) -> None:
    """Every text in the facts of `run` becomes `text`; one agent retries, another has failed because of it."""
    for index, recorded in enumerate(run.facts):
        match recorded.fact:
            case Asked(_, roster) as fact:
                members = tuple(Member(member.id, member.backend, text) for member in roster)
                run.facts[index] = replace(recorded, fact=replace(fact, question=text, roster=members))
            case Answered() | Presented() as fact:
                run.facts[index] = replace(recorded, fact=replace(fact, content=text))
            case Voted() as fact:
                run.facts[index] = replace(recorded, fact=replace(fact, reason=text))
            case _:
                pass


def obey() -> None:
    """What is on stdin: `go on`, `crash`, or a line for stderr."""
    for line in sys.stdin:
        if line == "go on\n":
            return
        if line == "crash\n":
            raise RuntimeError("the program is at fault")
        print(line, end="", file=sys.stderr)


def main(count: int, streamed: str, *, everywhere: bool) -> None:
    first, run = voting(count), whole(count)
    troubles: list[Retried | TurnFailed] = []
    if everywhere:
        saying(first, streamed)
        saying(run, streamed)
        troubles = [Retried(run.names[-1], 0, streamed, 60), TurnFailed(run.names[-2], 0, "error", streamed)]
    with open_display("auto", sys.stderr, clock=lambda: first.at, session="20260101-demo") as display:
        for recorded in run.facts[: len(first.facts)]:
            display.fact(recorded)
        for agent in run.names[(count + 1) // 2 :]:
            display.delta(agent, TextDelta(streamed))
        for fact in troubles:
            display.fact(Recorded(len(first.facts), first.at, fact))
        obey()
        for recorded in run.facts[len(first.facts) :]:
            display.fact(recorded)
    print("the final answer")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], everywhere=sys.argv[3:] == ["everywhere"])
