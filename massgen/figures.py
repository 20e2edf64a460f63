"""Numbers in words: times, money, and what a call waits for. Pure."""

from dataclasses import dataclass

from massgen.events import Spent
from massgen.limiter.quotas import UNITS
from massgen.messages import Waiting
from massgen.streams import line

WORTH_SHOWING = 1.0
"""Seconds of waiting for a limit that are worth a word."""


@dataclass(slots=True)
class Use:
    """Model calls and what they used."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0
    priced: int = 0
    """How many of the calls have a known cost."""
    waited: float = 0
    """Seconds that calls waited for rate limits."""

    def add(self, spent: Spent) -> None:
        self.calls += 1
        self.input_tokens += spent.input_tokens
        self.output_tokens += spent.output_tokens
        self.cost += spent.cost or 0
        self.priced += spent.cost is not None


def duration(seconds: float) -> str:
    """`2.1 s` (a whole number as `2 s`), `1 m 05 s`, `1 h 05 m`."""
    if seconds < 59.95:
        return f"{seconds} s" if isinstance(seconds, int) else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} m"


def money(use: Use) -> str:
    """US dollars, with a `+` where some calls have no known cost; empty where none has."""
    if not use.priced:
        return ""
    return f"${use.cost:.{2 if use.cost >= 1 else 4}f}{'+' if use.priced < use.calls else ''}"


def waiting(wait: Waiting) -> str:
    """What a call waits for, in a phrase."""
    how_long = f" {duration(max(1, round(wait.seconds)))}" if wait.seconds else ""
    used = f" {wait.used:,.6g}/{wait.limit:,.6g}" if wait.limit else ""
    name = line(wait.dimension, 60)
    return f"waiting{how_long} for {name.upper() if name in UNITS else name}{used}"
