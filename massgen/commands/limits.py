"""`massgen limits`: the rate limits that apply, why, and what of them is used."""

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from massgen import paths
from massgen.allowances import NUMBERS, Allowance, Allowances, Seat, limited, price, seat, shipped
from massgen.config.loading import environment
from massgen.console import put, tell
from massgen.errors import MassgenError
from massgen.limiter.quotas import UNITS, Limits, Profile

if TYPE_CHECKING:
    from massgen.config.loading import Loaded

Use = Mapping[str, tuple[float, float]]

_FILE = click.argument("file", default="")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print it as JSON: by provider, then by model.")
_PROFILE = click.option(
    "--profile-name", "profile", default="", metavar="NAME", help="Which of its profiles; else MASSGEN_PROFILE says."
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A model at a provider with an account, what applies to it, and whether it does for each agent that asks it, and why."""

    seat: Seat
    allowance: Allowance | None
    agents: Mapping[str, tuple[bool, str]]


@click.group()
def command() -> None:
    """The rate limits that apply to each model, and what of them is used."""


@command.command()
@_FILE
@_JSON
@_PROFILE
def show(file: str, as_json: bool, profile: str) -> None:
    """Print the limits that apply, and why.

    Of FILE (or @examples/NAME): to each of its models, from where they are, and which agents keep to them. Without FILE:
    massgen's own table. `rate_limits` in a configuration goes before that, value by value.
    """
    if file:
        entries = _entries(_resolved(file, profile))
        rows = _grouped([(each.seat, _facts(each)) for each in entries])
        text = [_shown(each) for each in entries]
    else:
        table = [_Entry(Seat(provider, model), found, {}) for provider, model, found in _table()]
        rows = _grouped([(each.seat, _facts(each)) for each in table])
        text = [_shown(each) for each in table]
    put(json.dumps(rows, indent=2) if as_json else "\n\n".join(text), "ask again")


@command.command()
@_FILE
@_JSON
@_PROFILE
def status(file: str, as_json: bool, profile: str) -> None:
    """Print what is used of the limits now.

    By all processes of this machine, of the limits of each model in FILE (or @examples/NAME). Without FILE: of the models
    that a question without --config would ask.
    """
    entries = [each for each in _entries(_resolved(file, profile)) if each.allowance]
    path = paths.data_dir() / "quotas.db"
    used = asyncio.run(_used(path, entries)) if path.exists() else {}
    if as_json:
        facts = [(each.seat, _measured(used.get(each.seat, {}))) for each in entries]
        return put(json.dumps(_grouped(facts), indent=2), "ask again")
    return put("\n\n".join(_counted(each, used) for each in entries) or "No limits are known.", "ask again")


def _resolved(file: str, profile: str) -> "Loaded":
    from massgen.app import resolve

    return resolve(file or None, profile)


def _entries(loaded: "Loaded") -> list[_Entry]:
    """The models that the agents of a configuration ask, each once."""
    env, allowances = environment(), Allowances.of(loaded, tell)
    seats = {name: seat(agent.backend, env) for name, agent in loaded.config.named_agents.items()}
    entries: list[_Entry] = []
    for each in dict.fromkeys(seats.values()):
        found = allowances.find(each.provider, each.model)
        agents = {
            name: limited(loaded.config, agent, found)
            for name, agent in loaded.config.named_agents.items()
            if seats[name] == each
        }
        entries.append(_Entry(each, found, agents))
    return entries


def _table() -> Iterator[tuple[str, str, Allowance | None]]:
    allowances = Allowances()
    for provider, models in shipped().items():
        for model in models:
            yield provider, model, allowances.find(provider, model)


def _grouped(facts: Sequence[tuple[Seat, dict[str, Any]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """By provider and model; of a model with several accounts each after the first is told by its scope too."""
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for place, fact in facts:
        models = rows.setdefault(place.provider, {})
        models[f"{place.model}#{place.scope}" if place.model in models else place.model] = fact
    return rows


def _facts(entry: _Entry) -> dict[str, Any]:
    allowance = entry.allowance
    profile = allowance.profile if allowance else Profile()
    limits = {
        name: _whole(getattr(profile.limits, name)) for name in Limits.__dataclass_fields__ if name != "minute_seconds"
    }
    manner = {"per_second": profile.pacing, "cooldown_seconds": _whole(profile.cooldown)}
    rows = [{"where": row.where, "provider": row.provider, "pattern": row.pattern} for row in _rows(allowance)]
    agents = {name: {"limited": on, "why": why} for name, (on, why) in entry.agents.items()}
    known = {"source": profile.source, "checked": profile.checked, "from": rows}
    return {**limits, **manner, "failed_calls_count": profile.failed_calls_count, **known, "agents": agents}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _rows(allowance: Allowance | None) -> Sequence[Any]:
    return allowance.rows if allowance else ()


def _shown(entry: _Entry) -> str:
    lines = [_title(entry), *(_numbers(entry.allowance.profile) if entry.allowance else ["no limits are known"])]
    if entry.allowance and entry.allowance.profile.limits.cost and price(entry.seat.provider, entry.seat.model) is None:
        lines.append("the limit in dollars cannot be kept to: the price list has no price of this model")
    for row in _rows(entry.allowance):
        whose = "massgen's own table" if row.where == "massgen" else row.where
        source = f": {row.says.source}" if row.says.source else ""
        dated = f" (as of {row.says.checked})" if row.says.checked else ""
        lines.append(f"from `{row.provider}`, `{row.pattern}` in {whose}{dated}{source}")
    for name, (on, why) in entry.agents.items():
        lines.append(f"{name}: {'on' if on else 'off'}, {why}")
    return "\n  ".join(lines)


def _title(entry: _Entry) -> str:
    return f"{entry.seat.provider} {entry.seat.model}".strip()


def _numbers(profile: Profile) -> Iterator[str]:
    """The limits in words, one a line."""
    limits = profile.limits
    numbers = {name: getattr(limits, name) for name in NUMBERS}
    if all(value is None for value in numbers.values()):
        yield "no numbers are known; what replies say of limits is kept to"
    for name, value in numbers.items():
        if value is not None:
            yield f"{_unit(name, limits)}: {value:,.12g}" if value else f"{_unit(name, limits)}: no quota"
    if profile.pacing:
        yield "calls go out evenly, for the provider enforces this by the second"
    if profile.cooldown:
        yield f"agents start {profile.cooldown:g} s apart"


def _unit(name: str, limits: Limits) -> str:
    match name:
        case "cost":
            return f"dollars in {limits.cost_seconds:,g} s"
        case "tpm" | "tpd" if limits.counts == "input":
            unit = f"input {UNITS[name]}"
        case _:
            unit = UNITS[name]
    return f"{unit} (from midnight in {limits.day_zone})" if name in ("rpd", "tpd") else unit


async def _used(path: Path, entries: Sequence[_Entry]) -> dict[Seat, Use]:
    """What is used of each limit, read from a copy: whoever only looks is no process that shares the limits."""
    from massgen.limiter.stores.sqlite import Sqlite

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        _copied(path, copy)
        store = Sqlite(copy, told=tell)
        try:
            found = {each.seat: each.allowance.profile.limits for each in entries if each.allowance}
            return {place: await store.use(place.key, limits) for place, limits in found.items()}
        finally:
            await store.aclose()


def _copied(path: Path, copy: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as error:
        raise MassgenError(
            f"cannot be read: {error}", where=str(path), fix="Try again; if it stays so, delete it."
        ) from None


def _measured(used: Use) -> dict[str, Any]:
    return {name: {"used": _whole(amount), "limit": _whole(limit)} for name, (amount, limit) in used.items()}


def _counted(entry: _Entry, used: Mapping[Seat, Use]) -> str:
    limits = entry.allowance.profile.limits if entry.allowance else Limits()
    lines = [
        f"{_unit(name, limits)}: {amount:,.12g} of {limit:,.12g}"
        for name, (amount, limit) in used.get(entry.seat, {}).items()
    ]
    return "\n  ".join([_title(entry), *(lines or ["nothing is used by other processes"])])
