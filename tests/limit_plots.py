"""Draws the handbook's plot of a rate limit from calls in virtual time: `python -m tests.limit_plots` writes it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cache

from aiolimiter import AsyncLimiter

from massgen.limiter import Limiter
from massgen.limiter.quotas import Limits, Profile, Weights
from tests.judge import Caller, Refusal, Strict, Trial, Work, perform, trial
from tests.pictures import ASSETS

RPM, WINDOW = 9, 60.0
ENDS = 300.0
BURSTS = [Work(at) for at in (0.0, 150.0) for _ in range(20)]
"""Two bursts of twenty calls."""
MOST, STEP = 18, 3
"""Of the axis of calls, and its marks."""
LEFT, TOP, WIDTH, HEIGHT = 48, 44, 640, 250
Send = Callable[[], Awaitable[Refusal | None]]


PLOT = ASSETS / "rate-limit.svg"
LIGHT = {"text": "#20262e", "grid": "#d5d9de", "limit": "#20262e", "bucket": "#b3261e", "quota": "#1259b8"}
DARK = {"text": "#e8eaee", "grid": "#454b54", "limit": "#e8eaee", "bucket": "#ff8a80", "quota": "#82b1ff"}
DASHES = """.limit{stroke-dasharray:2 4}.bucket{stroke-width:2;stroke-dasharray:8 3}.quota{stroke-width:3}"""


def alone() -> Caller:
    """Calls as aiolimiter's manual makes them."""
    bucket = AsyncLimiter(RPM, WINDOW)

    async def caller(work: Work, send: Send) -> None:
        async with bucket:
            await send()

    return caller


def ours() -> Caller:
    profile = Profile(limits=Limits(rpm=RPM))
    limiter = Limiter(lambda provider, model: profile, clock=lambda: asyncio.get_running_loop().time())

    async def caller(work: Work, send: Send) -> None:
        async with limiter.slot("gemini", "flash", estimate=Weights()) as slot:
            await send()
            slot.acked()

    return caller


@cache
def arrivals(make: Callable[[], Caller]) -> Sequence[int]:
    """When each call of the bursts reached a provider that refuses none: tenths of a second."""

    async def scene() -> Trial:
        return await trial(Strict(), BURSTS, make(), until=ENDS)

    return [round(10 * at) for at, _ in perform(scene).provider.served]


def within(arrived: Sequence[int]) -> list[tuple[float, int]]:
    """How many calls the last 60 s hold, from each second on at which that changes."""
    window, ends = round(10 * WINDOW), round(10 * ENDS)
    moments = {moment for at in arrived for moment in (at, at + window) if moment < ends}
    return [(now / 10, sum(now - window < at <= now for at in arrived)) for now in sorted(moments)]


def svg() -> str:
    """The plot, without a background: its colours are those for the light or the dark page that it stands on."""
    bucket, quota = within(arrivals(alone)), within(arrivals(ours))
    peaks = f"at most {max(calls for _, calls in bucket)} with aiolimiter alone, {max(calls for _, calls in quota)} with massgen"
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 346" role="img" font-family="sans-serif" font-size="13">',
        f"<title>Calls in the last 60 seconds under a limit of {RPM}: {peaks}</title>",
        f"<style>path{{fill:none}}{DASHES}{_colours(LIGHT)}@media(prefers-color-scheme:dark){{{_colours(DARK)}}}</style>",
        *_grid(),
        _line([(0.0, RPM)], "limit"),
        _line(bucket, "bucket"),
        _line(quota, "quota"),
        *_legend(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _colours(colours: Mapping[str, str]) -> str:
    return "".join(
        f".{name}{{stroke:{value}}}" if name != "text" else f"text{{fill:{value}}}" for name, value in colours.items()
    )


def _grid() -> Iterable[str]:
    right, bottom = LEFT + WIDTH, TOP + HEIGHT
    for calls in range(0, MOST + 1, STEP):
        y = _y(calls)
        yield f'<path d="M{LEFT} {y:g}H{right}" class="grid"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:g}" text-anchor="end">{calls}</text>'
    for seconds in range(0, int(ENDS) + 1, 60):
        yield f'<text x="{_x(seconds):g}" y="{bottom + 18}" text-anchor="middle">{seconds} s</text>'
    yield f'<text x="{LEFT}" y="{bottom + 42}">Calls in the last 60 s; twenty come at 0 s, twenty at 150 s.</text>'


def _legend() -> Iterable[str]:
    names = {"bucket": "aiolimiter alone", "quota": "massgen", "limit": f"the limit, {RPM}"}
    for number, (kind, name) in enumerate(names.items()):
        x = LEFT + 180 * number
        yield f'<path d="M{x} 20h32" class="{kind}"/>'
        yield f'<text x="{x + 40}" y="24">{name}</text>'


def _line(points: Sequence[tuple[float, int]], kind: str) -> str:
    """Steps: a value holds until the next one, the last to the end."""
    (begin, first), *rest = points
    path = f"M{_x(begin):g} {_y(first):g}" + "".join(f"H{_x(at):g}V{_y(calls):g}" for at, calls in rest)
    return f'<path d="{path}H{_x(ENDS):g}" class="{kind}"/>'


def _x(seconds: float) -> float:
    return round(LEFT + WIDTH * seconds / ENDS, 1)


def _y(calls: float) -> float:
    return round(TOP + HEIGHT * (1 - calls / MOST), 1)


if __name__ == "__main__":
    PLOT.write_bytes(svg().encode())
