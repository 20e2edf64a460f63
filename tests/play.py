"""A program that follows a run on its stderr, as `massgen` does: half of it, a line from stdin, the other half.
Arguments: how many agents. Its stdout is one line, at the end."""

import sys

from massgen.display import open_display
from massgen.messages import TextDelta
from tests.facts import voting, whole


def main(count: int) -> None:
    first, run = voting(count), whole(count)
    with open_display("auto", sys.stderr, clock=lambda: first.at, session="20260101-demo") as display:
        for recorded in run.facts[: len(first.facts)]:
            display.fact(recorded)
        display.delta(run.names[-1], TextDelta("considering the evidence"))
        for line in sys.stdin:
            if line == "go on\n":
                break
            print(line, end="", file=sys.stderr)
        for recorded in run.facts[len(first.facts) :]:
            display.fact(recorded)
    print("the final answer")


if __name__ == "__main__":
    main(int(sys.argv[1]))
