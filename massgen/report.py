"""What came of a question, as text, as a document or as data."""

import json
from dataclasses import asdict
from typing import Literal, TypeAlias

from massgen.conversation import Result
from massgen.display.view import Use, duration, money
from massgen.streams import line

Format: TypeAlias = Literal["text", "markdown", "json"]

MAX_HEADING = 200
"""Characters of the question in a heading."""


def render(result: Result, question: str, form: Format) -> str:
    """`text`: the answer as the model wrote it. `markdown`: question, answer, and a line on how it came about.
    `json`: the fields of `Result` as one object. Empty where there is no answer, except as `json`."""
    match form:
        case "json":
            fields = {**asdict(result), "session": str(result.session)}
            return json.dumps(fields, ensure_ascii=False, indent=2)
        case "markdown" if result.answer:
            return f"# {line(question, MAX_HEADING)}\n\n{result.answer}\n\n---\n\n{_origin(result)}"
        case _:
            return result.answer


def _origin(result: Result) -> str:
    """By whom, with which votes, in what time and for how much."""
    team = [f"{member.id} ({line(f'{member.backend} {member.model}', 80)})" for member in result.agents]
    votes = ", ".join(f"{agent} {count}" for agent, count in result.votes.items())
    priced = 0 if result.cost is None else result.calls
    use = Use(result.calls, result.input_tokens, result.output_tokens, result.cost or 0, priced)
    parts = [
        f"By {result.winner} of {', '.join(team)}" if team[1:] else f"By {''.join(team)}",
        *([f"votes: {votes}"] if votes else []),
        *([] if result.why == "answered" else [f"cut short: {result.why}"]),
        duration(result.seconds),
        f"{use.calls} model call{'s' * (use.calls != 1)}",
        f"{use.input_tokens:,} tokens in, {use.output_tokens:,} out",
        *filter(None, [money(use)]),
    ]
    return "; ".join(parts)
