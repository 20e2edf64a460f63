"""A program that follows a run on its stderr, as `massgen` does: half of it, a line from stdin, the other half.
Arguments: how many agents, and what the last of them streams. Its stdout is one line, at the end."""

import sys

from massgen.display import open_display
from massgen.messages import TextDelta
from tests.facts import voting, whole


def main(count: int, streamed: str) -> None:
    first, run = voting(count), whole(count)
    with open_display("auto", sys.stderr, clock=lambda: first.at, session="20260101-demo") as display:
        for recorded in run.facts[: len(first.facts)]:
            display.fact(recorded)
        for agent in run.names[(count + 1) // 2 :]:
            display.delta(agent, TextDelta(streamed))
        for line in sys.stdin:
            if line == "go on\n":
                break
            if line == "crash\n":
                raise RuntimeError("the program is at fault")
            print(line, end="", file=sys.stderr)
        for recorded in run.facts[len(first.facts) :]:
            display.fact(recorded)
    print("the final answer")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
