"""What it takes to go on with a session: its configuration, what is different in another one, how much of it is told."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from massgen import examples
from massgen.allowances import listed, seat
from massgen.config import BackendConfig, Config
from massgen.config.limit_rules import entries
from massgen.config.loading import Loaded, environment, parse
from massgen.config.values import REDACTED
from massgen.errors import ConfigError
from massgen.events import Member, Recorded
from massgen.log import Facts
from massgen.rosters import change
from massgen.state import Exchange, State
from massgen.streams import line

SMALL_WINDOW = 3_000
"""Characters of a conversation that an embedded model is told: a third of its prompt."""
UNKNOWN_CONTEXT = 8_192
"""Tokens that a model takes of which that is not known."""
MAX_CHANGES = 40
"""Differences that are told."""
CHARACTERS = 3
"""At least so many make a token, in English and in code."""


def window(config: Config, conversation: Sequence[Exchange]) -> int:
    """How many characters of `conversation` may be told whole: what fills half the smallest context of the team. 0: all."""
    if sum(each.size for each in conversation) <= SMALL_WINDOW:
        return 0  # and no price list is read, which takes 40 ms
    env = environment()
    return min(_window(agent.backend, env) for agent in config.named_agents.values())


def _window(backend: BackendConfig, env: Mapping[str, str]) -> int:
    if backend.type == "local":
        return SMALL_WINDOW
    place = seat(backend, env)
    model = None if backend.context_tokens else listed(place.provider, place.model)
    tokens = backend.context_tokens or (model.context if model else None) or UNKNOWN_CONTEXT
    return tokens * CHARACTERS // 2


def template(loaded: Loaded) -> str:
    """The file that a configuration is from, as people name it: `@examples/NAME` or an absolute path; empty if none."""
    if not loaded.files or not (path := Path(loaded.files[0]).absolute()).is_file():
        return ""
    root = examples.folder().absolute()
    return (
        f"{examples.PREFIX}{path.relative_to(root).with_suffix('').as_posix()}" if root in path.parents else str(path)
    )


def recorded(state: State, where: str) -> Loaded:
    """The configuration that a session was recorded with. Raises `ConfigError` if it cannot be used here and now, naming
    `where` the session is."""
    config = state.asked.config if state.asked else dict[str, Any]()
    if not config:
        raise ConfigError([f"{where}: the session does not say by which configuration; name one: --config FILE"])
    keys = [name for name, agent in _agents(config).items() if entries(agent.get("backend")).get("api_key") == REDACTED]
    flat = _flat(_keyed(config, _agents(config)))
    others = [key for key, value in flat if value == REDACTED and not key.endswith(".backend.api_key")]
    if keys or others:
        again = "was written out in the configuration and is not recorded; name the file again: --config FILE"
        told = [*(f"{name}: its key {again}" for name in keys), *(f"{line(key, 100)} {again}" for key in others)]
        raise ConfigError([f"{where}: {each}" for each in told[:MAX_CHANGES]])
    return parse(config)


def _agents(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The agents of a recorded configuration by id, as `Config.named_agents` has them."""
    found = config.get("agents")
    every = cast("list[Any]", found) if isinstance(found, list) else [config.get("agent")]
    agents = [entries(each) for each in every]  # it may be of any shape, in a session from elsewhere
    return {str(agent.get("id") or f"agent{place}"): agent for place, agent in enumerate(agents, 1)}


def changes(state: State, team: Sequence[Member], config: Mapping[str, Any]) -> list[str]:
    """What is different if the session goes on with `team` and its `config`, a line each, with what that means."""
    if state.asked is None:
        return []
    before, after = ({member.id: member for member in each} for each in (state.asked.roster, team))
    became = change(before.values(), after.values())
    told = [f"{_named(before[each])} is not in this team: it takes no part; its answers stay" for each in became.left]
    told += [f"{_named(after[each])} is new: it is told the conversation so far" for each in became.joined]
    told += [f"{each}: {_model(before[each])} -> {_model(after[each])}" for each in became.replaced]
    return [*told, *_settings(state.asked.config, config)][:MAX_CHANGES]


def _named(member: Member) -> str:
    return f"{member.id} ({_model(member)})"


def _model(member: Member) -> str:
    return f"{member.backend} {member.model}"


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Those of the agents that are in both, and of the team."""
    both = _agents(before).keys() & _agents(after).keys()
    one, other = dict(_flat(_keyed(before, both))), dict(_flat(_keyed(after, both)))
    for key in sorted(one.keys() | other.keys()):
        told = key.endswith((".backend.type", ".backend.model"))  # with who the agents are
        if one.get(key) != other.get(key) and not told:
            yield f"{key}: {_short(one, key)} -> {_short(other, key)}"


def _keyed(config: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """`config` with those agents by id."""
    agents = {name: {**agent, "id": name} for name, agent in _agents(config).items() if name in names}
    return {**{key: each for key, each in config.items() if key != "agent"}, "agents": agents}


def _flat(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    match value:
        case dict() if value:
            for key, each in cast("dict[str, object]", value).items():
                yield from _flat(each, f"{path}.{key}" if path else key)
        case list() if path.endswith(".mcp_servers"):
            for place, each in enumerate(cast("list[object]", value)):
                yield from _flat(each, f"{path}[{place}]")
        case _:
            yield path, value


def _short(values: Mapping[str, object], key: str) -> str:
    return line(str(values[key]), 60) if key in values else "not set"


def losses(state: State, team: Sequence[Member]) -> list[str]:
    """What of an unfinished run is lost if `team` finishes it: turns that have begun, of agents that cannot take them up."""
    same = [member for member in team if state.asked and member in state.asked.roster]
    return [
        f"{seat.agent} was at work on its turn ({seat.purpose}), which nobody in this team can take up"
        for seat in state.seats.values()
        if state.unfinished and (seat.turn or seat.suspended) and seat.agent not in {member.id for member in same}
    ]


def recovered(state: State) -> str:
    """What there is of an unfinished run, in a line."""
    votes = sum(seat.vote is not None for seat in state.seats.values())
    open_turns = [f"{seat.agent} ({seat.purpose})" for seat in state.seats.values() if seat.turn or seat.suspended]
    there = [
        _count(len(state.answers), "answer"),
        *([_count(votes, "vote")] if votes else []),
        f"{_count(state.spent.calls, 'model call')} that will not be made again",
    ]
    work = f"at work: {', '.join(open_turns)}" if open_turns else "nobody was at work"
    return f"{', '.join(there)}; {work}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def set_aside(facts: Sequence[Recorded]) -> str:
    """What of a log that was opened to go on with was cut off, in a line; empty if nothing was."""
    if not isinstance(facts, Facts) or not facts.torn:
        return ""
    return (
        f"{facts.path}:{len(facts) + 2}: this line was cut off; what there is of it is kept in {facts.path.stem}.torn"
    )


def last(state: State, most: int = 3) -> Iterator[str]:
    """The last exchanges of the conversation, two lines each."""
    for each in state.exchanges[-most:]:
        yield f"> {line(each.question, 100)}"
        yield f"  {line(each.answer, 100) or '(no answer)'}"
