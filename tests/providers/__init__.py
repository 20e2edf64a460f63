"""A loopback model server for tests and benchmarks: what it says is a policy, how it says it a wire format."""

from tests.providers.app import Record, Simulator
from tests.providers.policy import (
    Act,
    Call,
    Policy,
    Reply,
    Script,
    Team,
    call,
    cut,
    fault,
    fill,
    hang,
    paced,
    prose,
    raw,
    redirect,
    say,
)

__all__ = [
    "Act",
    "Call",
    "Policy",
    "Record",
    "Reply",
    "Script",
    "Simulator",
    "Team",
    "call",
    "cut",
    "fault",
    "fill",
    "hang",
    "paced",
    "prose",
    "raw",
    "redirect",
    "say",
]
