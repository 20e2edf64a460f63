"""What a quota may grant, by brute force: every call is kept for ever and counted anew at each question. Shares no code with the rules."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo


@dataclass
class Made:
    """A call as the oracle remembers it; `days`: the provider's dates from sending to acknowledgement."""

    requests: int
    input: int
    output: int
    cost: float
    sent: float
    acked: float | None = None
    over: bool = False

    def amount(self, dimension: str, counts: str) -> float:
        tokens = self.input if counts == "input" else self.input + self.output
        return {
            "rpm": self.requests, "rpd": self.requests, "concurrency": self.requests, "tpm": tokens, "tpd": tokens,
            "itpm": self.input, "otpm": self.output, "cost": self.cost,
        }[dimension]  # fmt: skip


class Oracle:
    """Of one key whose clocks agree: at `now` seconds the wall says `epoch + now`."""

    def __init__(self, limits: dict[str, float], epoch: float, zone: str, counts: str, cost_seconds: float) -> None:
        self.limits, self.epoch, self.zone, self.counts = limits, epoch, ZoneInfo(zone), counts
        self.cost_seconds = cost_seconds
        self.calls: list[Made] = []

    def used(self, dimension: str, now: float) -> float:
        counted = {"rpd": self._today, "tpd": self._today, "concurrency": self._open}.get(dimension)
        if counted is None:
            counted = self._within(self.cost_seconds if dimension == "cost" else 60.0)
        return sum(call.amount(dimension, self.counts) for call in self.calls if counted(call, now))

    def fits(self, call: Made, now: float) -> bool:
        amounts = {name: call.amount(name, self.counts) for name in self.limits}
        return all(self.used(name, now) + amounts[name] <= limit + 1e-9 for name, limit in self.limits.items())

    def date(self, now: float) -> str:
        return datetime.fromtimestamp(self.epoch + now, self.zone).date().isoformat()

    def _within(self, seconds: float) -> Callable[[Made, float], bool]:
        return lambda call, now: call.acked is None or now - call.acked < seconds

    def _open(self, call: Made, now: float) -> bool:
        return not call.over

    def _today(self, call: Made, now: float) -> bool:
        """Sent, or acknowledged, or under way today."""
        until = now if call.acked is None else call.acked
        return self.date(call.sent) <= self.date(now) <= self.date(max(until, call.sent))
