"""What a provider's reply says about its limits: its headers, and the error of a refused call. Pure.

What cannot be right is left out: a provider's nonsense must neither stop a run nor slow it down.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

from massgen.limiter.quotas import MOST, Dimension, Feedback

MAX_BODY = 65_536
"""Characters of an error that are read; the longest known ones have 3,000."""
MAX_WAIT = 90_000.0
"""Seconds. Who asks to wait longer than a day (and its longest hour) is not believed."""
MAX_NAME = 100
"""Characters of a quota's name."""
WAITING = (429, 503, 529)
"""The statuses after which the same call may succeed later."""
REFUSING = (413, *WAITING)
"""The statuses whose body may name a limit; 413: Groq, of a call that is larger than a minute's tokens."""

_TOKENS: Mapping[str, Dimension] = {"x-ratelimit-limit-tokens": "tpm"}
_DIALECTS: Mapping[str, Mapping[str, Dimension]] = {
    "openai": {"x-ratelimit-limit-requests": "rpm", **_TOKENS},
    "groq": {"x-ratelimit-limit-requests": "rpd", **_TOKENS},
    "azure_openai": _TOKENS,  # its header of requests counts those of a second or of ten
    "grok": _TOKENS,  # limited by the second too
    "cerebras": {
        "x-ratelimit-limit-requests-minute": "rpm",
        "x-ratelimit-limit-requests-day": "rpd",
        "x-ratelimit-limit-tokens-minute": "tpm",
        "x-ratelimit-limit-tokens-day": "tpd",
    },
    "claude": {
        "anthropic-ratelimit-requests-limit": "rpm",
        "anthropic-ratelimit-input-tokens-limit": "itpm",
        "anthropic-ratelimit-output-tokens-limit": "otpm",
    },
}
"""By type of provider: header -> what it limits. Elsewhere these names mean a second's, a minute's or a day's limit."""

_LONGEST = {"azure_openai": 3600.0}
"""Seconds. Azure says 86,400 of calls that are larger than a minute's limit, which waiting does not help."""
_RESET = re.compile(r"(?P<remaining>x-ratelimit-remaining|anthropic-ratelimit)-(?P<what>[a-z-]+?)(?:-remaining)?$")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_AGAIN = re.compile(r"(?:retry|[Tt]ry again) (?:in|after) ((?:\d+(?:\.\d+)?(?:ms|h|m|s| seconds?) ?)+)")
_WORDS: Mapping[tuple[str, str], Dimension] = {
    ("requests", "minute"): "rpm", ("tokens", "minute"): "tpm", ("input tokens", "minute"): "itpm",
    ("output tokens", "minute"): "otpm", ("requests", "day"): "rpd", ("tokens", "day"): "tpd",
}  # fmt: skip
_LABELLED = re.compile(r"\((RPM|TPM|ITPM|OTPM|RPD|TPD)\): Limit:? (\d[\d,]*)")
"""OpenAI's and Groq's words."""
_OF = re.compile(r"limit\b[^.]{0,120}? of (\d[\d,]*) (requests|input tokens|output tokens|tokens) per (minute|day)")
"""Anthropic's."""
_RATIO = re.compile(r"(requests|tokens) per (minute|day) \(actual/limit\): \d+/(\d+)", re.IGNORECASE)
"""xAI's."""
_FREE = re.compile(r"free-models-per-(day|min)[a-z-]{0,40}")
"""OpenRouter's."""
_NOTHING = re.compile(
    r"Quota exceeded for metric: \S+, limit: 0(?!\.?\d)"
    r"|['\"]code['\"]: ?['\"]insufficient_quota['\"]"
    r"|used all available credits or reached its monthly spending limit"
)
"""Google's, OpenAI's and xAI's words for no quota at all."""


@dataclass(frozen=True, slots=True)
class _Quota:
    """A quota that an error names: a `limit` of 0 is none at all. `daily`: no more of it before the day is over."""

    name: str
    dimension: Dimension | None
    limit: float | None
    daily: bool = False


def learned(
    provider: str, status: int, headers: Mapping[str, str], body: bytes | str = "", *, wall: float | None = None
) -> Feedback:
    """What a reply of the `provider` (its type in a configuration) says; `body` is that of an error.

    Times of day are read by the reply's own clock, its `Date`; without that by `wall`, epoch seconds, or not at all.
    """
    known = {name.lower().removeprefix("llm_provider-"): value.strip() for name, value in headers.items()}
    limits: dict[str, float] = dict(_header_limits(provider, known))
    if status not in REFUSING:
        return Feedback(limits=limits)
    text = (body.decode(errors="replace") if isinstance(body, bytes) else body)[:MAX_BODY]
    error = _error(text)
    quotas = [*_google(error), *_openrouter(text, error), *_worded(text)]
    limits |= _least(quotas)
    wait = _retry_after(provider, known, text, error, wall) if status in WAITING else None
    none = bool(_NOTHING.search(text)) or any(each.limit == 0 for each in quotas)
    unclear = status in WAITING and wait is None  # of a sliding day it is told how long to wait
    daily = any(each.daily or (unclear and each.dimension in ("rpd", "tpd")) for each in quotas)
    name = next((each.name for each in quotas), "")
    return Feedback(limits=limits, retry_after=wait, per_day=daily and not none, no_quota=none, quota=name)


def _least(quotas: Sequence[_Quota]) -> dict[str, float]:
    limits: dict[str, float] = {}
    for each in quotas:
        if each.dimension and each.limit is not None:
            limits[each.dimension] = min(each.limit, limits.get(each.dimension, each.limit))
    return limits


def _header_limits(provider: str, headers: Mapping[str, str]) -> Iterator[tuple[Dimension, float]]:
    for name, dimension in _DIALECTS.get(provider, {}).items():
        if value := _count(headers.get(name, "")):
            yield dimension, value


def _count(text: str) -> float | None:
    """A number of requests or tokens; None for anything else."""
    if not re.fullmatch(r"\d[\d,]{0,20}(\.0+)?", text, re.ASCII):
        return None
    value = float(text.replace(",", ""))
    return value if value <= MOST else None


def _worded(text: str) -> Iterator[_Quota]:
    """The quotas that are named in words."""
    told: list[tuple[str | None, str]] = [(label.lower(), number) for label, number in _LABELLED.findall(text)]
    told += [(_WORDS.get((what, period)), number) for number, what, period in _OF.findall(text)]
    told += [(_WORDS.get((what.lower(), period.lower())), number) for what, period, number in _RATIO.findall(text)]
    for dimension, number in told:
        if dimension and (value := _count(number)):
            yield _Quota(dimension, cast("Dimension", dimension), value)


def _openrouter(text: str, error: Mapping[str, Any]) -> Iterator[_Quota]:
    if found := _FREE.search(text):
        day = found[1] == "day"
        limit = _count(_metadata(error).get("x-ratelimit-limit", ""))
        yield _Quota(found[0], "rpd" if day else "rpm", limit or None, daily=day)


def _metadata(error: Mapping[str, Any]) -> Mapping[str, str]:
    """The headers that OpenRouter tells in the error."""
    match error.get("metadata"):
        case {"headers": {**headers}}:
            pairs = cast("Mapping[str, Any]", headers).items()
            return {name.lower(): value for name, value in pairs if isinstance(value, str)}
        case _:
            return {}


def _error(text: str) -> Mapping[str, Any]:
    """The `error` of a body of JSON, which may stand in other text, in a list, or once more in its own message."""
    for _ in range(2):
        match _json(text):
            case {"error": {"message": str(inner)}} if inner.lstrip().startswith("{"):
                text = inner
            case {"error": {**error}}:
                return cast("Mapping[str, Any]", error)
            case _:
                break
    return {}


def _json(text: str) -> Any:
    start = text.find("{")
    try:
        return json.JSONDecoder().raw_decode(text, start)[0] if start >= 0 else None
    except (ValueError, RecursionError):  # ValueError: no JSON, or a number of more digits than Python takes
        return None


def _details(error: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    """Google's details of that kind."""
    details = error.get("details")
    for each in cast("list[Any]", details) if isinstance(details, list) else []:
        match each:
            case {"@type": str(name), **fields} if name.endswith(f".{kind}"):
                yield cast("Mapping[str, Any]", fields)
            case _:
                pass


def _google(error: Mapping[str, Any]) -> Iterator[_Quota]:
    """By identifiers, such as `GenerateContentInputTokensPerModelPerMinute-FreeTier`."""
    for failure in _details(error, "QuotaFailure"):
        violations = failure.get("violations")
        for each in cast("list[Any]", violations) if isinstance(violations, list) else []:
            match each:
                case {"quotaId": str(name), **fields}:
                    limit = _count(str(cast("Mapping[str, Any]", fields).get("quotaValue", "")))
                    yield _Quota(_plain(name), _dimension(name), limit, daily="PerDay" in name)
                case _:
                    pass


def _plain(name: str) -> str:
    return "".join(filter(str.isprintable, name[:MAX_NAME]))


def _dimension(quota: str) -> Dimension | None:
    period = "minute" if "PerMinute" in quota else "day" if "PerDay" in quota else ""
    return _WORDS.get(("tokens" if "Token" in quota else "requests", period))


def _retry_after(
    provider: str, headers: Mapping[str, str], text: str, error: Mapping[str, Any], wall: float | None
) -> float | None:
    """Seconds to wait: as the first of these says that says something sensible."""
    date = _epoch(headers.get("date", ""))
    now = wall if date is None else date
    again = _AGAIN.search(text)
    delays = [each.get("retryDelay") for each in _details(error, "RetryInfo")]
    ways = (
        _milliseconds(headers.get("retry-after-ms", "")),
        _seconds(headers.get("retry-after", ""), now),
        *(_seconds(delay, now) for delay in delays if isinstance(delay, str)),
        _seconds(re.sub(r" ?(seconds?)?", "", again[1]), now) if again else None,
        _resets(headers, now),
        *(_seconds(each.get("x-ratelimit-reset", ""), now) for each in (headers, _metadata(error))),
    )
    longest = _LONGEST.get(provider, MAX_WAIT)
    return next((wait for wait in ways if wait is not None and wait <= longest), None)


def _milliseconds(text: str) -> float | None:
    wait = _seconds(text, None)
    return None if wait is None else wait / 1000


def _resets(headers: Mapping[str, str], now: float | None) -> float | None:
    """When the last of those limits is full again of which nothing remains."""
    waits: list[float] = []
    for name, value in headers.items():
        if (found := _RESET.match(name)) and re.fullmatch(r"0(\.0*)?", value):
            openai = found["remaining"] == "x-ratelimit-remaining"
            reset = f"x-ratelimit-reset-{found['what']}" if openai else f"anthropic-ratelimit-{found['what']}-reset"
            wait = _seconds(headers.get(reset, ""), now)
            waits += [] if wait is None else [wait]
    return max(waits, default=None)


def _seconds(text: str, now: float | None) -> float | None:
    """How long `text` says to wait: seconds, a duration as Go writes it (`6m0s`), or a time of day."""
    if re.fullmatch(r"\d{1,13}(\.\d{1,12})?", text, re.ASCII):
        wait = _from_now(float(text), now)
    elif len(text) <= 60 and re.fullmatch(f"(?:{_DURATION.pattern})+", text, re.ASCII):
        wait = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    elif now is not None and (then := _epoch(text)) is not None:
        wait = max(0.0, then - now)
    else:
        return None
    return wait if math.isfinite(wait) and wait <= MAX_WAIT else None


def _from_now(number: float, now: float | None) -> float:
    """Of seconds those; of a moment in seconds or milliseconds since 1970 how far off it is."""
    if number < 1e9:
        return number
    return math.inf if now is None else max(0.0, (number / 1000 if number >= 1e12 else number) - now)


def _epoch(text: str) -> float | None:
    """A time of day, by RFC 3339 or as HTTP writes it."""
    if not 8 < len(text) <= 60:
        return None
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None
