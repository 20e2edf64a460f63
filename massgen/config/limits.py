"""What a configuration may say of rate limits."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from massgen.config.tools import Section

Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Limit: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)] | None


class RateLimit(Section):
    """What a provider allows for a model: `null` is no limit, 0 no quota. What is left out is as in massgen's own table."""

    rpm: Limit = None
    """Requests in any minute."""
    tpm: Limit = None
    """Tokens in any minute: those that `counts` says."""
    itpm: Limit = None
    """Input tokens in any minute."""
    otpm: Limit = None
    """Output tokens in any minute."""
    rpd: Limit = None
    """Requests a day, from midnight to midnight in `day_zone`."""
    tpd: Limit = None
    """Tokens a day: those that `counts` says."""
    concurrency: Limit = None
    """Calls at the same time."""
    cost: Limit = None
    """US dollars in any `cost_seconds`."""
    cost_seconds: Seconds = 86_400
    """The period of `cost`."""
    day_zone: str = "UTC"
    """The time zone in which a day begins, e.g. `America/Los_Angeles`."""
    counts: Literal["input", "total"] = "total"
    """Which tokens `tpm` and `tpd` count: those of the prompt, or those of the reply too."""
    per_second: bool = False
    """The provider enforces `rpm` by the second: calls go out evenly, a sixtieth of it each second."""
    cooldown_seconds: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)] = 0
    """When a run begins, so long passes between the starts of two agents with this model."""
    failed_calls_count: bool = True
    """Whether the provider counts the calls that it refuses."""
    source: str = ""
    """Where the numbers are from: a page, or your account's."""
    checked: str = Field(default="", pattern=r"^(\d{4}-\d{2}(-\d{2})?)?$")
    """When that was read, e.g. `"2026-11-21"` or `"2026-11"`, in quotes."""


RateLimits: TypeAlias = dict[str, dict[str, RateLimit]]
"""By type of provider, then by the model's name, a pattern of names, or `default`."""
