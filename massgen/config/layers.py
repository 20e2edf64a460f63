"""Merges what a configuration consists of: the file, those it `extends`, and the profile that was chosen."""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from massgen import examples
from massgen.config.placing import placed
from massgen.config.yaml_tree import MAX_NODES, Node, Tree, dotted, plant, read, short
from massgen.errors import ConfigError, Problem, UsageError

MAX_CHAIN = 10
"""Files that may extend each other in a row."""
MAX_PROFILES = 20

OWN_KEYS = ("extends", "profiles")
"""The keys of a file that are gone once the layers are merged."""


@dataclass(slots=True)
class Layers:
    """A configuration put together. `root` is all of it but the profiles; `files` are its sources, the first one first."""

    root: Node
    profiles: Mapping[str, Node] = field(default_factory=dict[str, Node])
    files: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list[Problem])
    whole: bool = True
    """Whether nothing is left out: a file that cannot be read, a profile that is not there."""

    def resolved(self, profile: str) -> Node:
        """With the profile of that name; with none if it is empty."""
        return _keyless(
            replace(self.root, value=merge(self.root, self.profiles[profile]).value) if profile else self.root
        )

    def choose(self, profile: str, variable: str) -> str:
        """The profile meant by the name `profile`, else by the `variable` MASSGEN_PROFILE. That one is set for many
        configurations, so one without any profiles ignores it; a name that is none is a problem either way."""
        name = profile or (variable if self.profiles else "")
        if not name or name in self.profiles:
            return name
        known = [*self.profiles]
        close = difflib.get_close_matches(name[:60], known, 1)
        every = ", ".join(dotted((each,)) for each in known)
        told = f"did you mean {short(close[0])}?" if close else f"there are: {every}" if known else "there are none"
        source = "" if profile else " (from MASSGEN_PROFILE)"
        self.problems.append(Problem(f"no profile is called {short(name)}{source}; {told}", "", self.files[0]))
        self.whole = False
        return ""


def from_file(path: Path) -> Layers:
    """The layers of the file `path`. Raises `ConfigError` if the file itself cannot be read; of those it extends, that is
    one problem of many."""
    return _Gathering().layers(read(path), path)


def from_data(data: object) -> Layers:
    """The layers of a configuration that was given as data; what it extends is sought from the working directory."""
    return _Gathering().layers(Tree(plant(data)), Path("config"))


def merge(below: Node, above: Node) -> Node:
    """`above` laid over `below`: mappings key by key, agents by name, everything else replaced."""
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    under = below.mapping
    over = {key: _merged(under[key], node, key) if key in under else node for key, node in above.mapping.items()}
    return replace(above, value={**under, **over})


def _merged(below: Node, above: Node, key: str) -> Node:
    if key == "agents" and below.items and above.items:
        return replace(above, value=_team(below.items, above.items))
    return merge(below, above)


def _team(below: Sequence[Node], above: Sequence[Node]) -> list[Node]:
    """An agent is known by its `id`, or without one as `agent1`, `agent2`, ... by its place in its own file."""
    team, names = [*below], [_name(agent, place) for place, agent in enumerate(below, 1)]
    for place, agent in enumerate(above, 1):
        name = _name(agent, place)
        if name in names:
            seat = names.index(name)
            team[seat], names[seat] = merge(team[seat], agent), ""  # a second one of that id is told as such
        else:
            team.append(agent)
    return team


def _name(agent: Node, place: int) -> str:
    match agent.mapping.get("id"):
        case Node(value=str(given)) if given:
            return given
        case _:
            return f"agent{place}"


_REACHED = ("api_key", "base_url", "mcp_servers")
"""What reaches out from an agent: nobody who replays a session needs it."""


def _keyless(root: Node) -> Node:
    """`root`, in which nobody who replays a session has a key, an address or tools: their variables need not be set."""
    team = root.mapping.get("agents")
    if team is None or not any(map(_replays, team.items)):
        return root
    agents = [_without(agent) if _replays(agent) else agent for agent in team.items]
    idle = ("mcp_servers",) if all(map(_replays, team.items)) else ()
    rest = {key: node for key, node in root.mapping.items() if key not in idle}
    return replace(root, value={**rest, "agents": replace(team, value=agents)})


def _replays(agent: Node) -> bool:
    backend = agent.mapping.get("backend")
    return bool(backend and "type" in backend.mapping and backend.mapping["type"].value == "replay")


def _without(agent: Node) -> Node:
    backend = agent.mapping["backend"]
    kept = {key: node for key, node in backend.mapping.items() if key not in _REACHED}
    rest = {key: node for key, node in agent.mapping.items() if key not in _REACHED}
    return replace(agent, value={**rest, "backend": replace(backend, value=kept)})


@dataclass(slots=True)
class _Gathering:
    """Follows `extends` from file to file."""

    problems: list[Problem] = field(default_factory=list[Problem])
    whole: bool = True
    _files: list[Path] = field(default_factory=list[Path])
    _size: int = 0

    def layers(self, tree: Tree, path: Path) -> Layers:
        root = self._file(tree, path)
        profiles = self._profiles(root.mapping.get("profiles"))
        rest = {key: node for key, node in root.mapping.items() if key not in OWN_KEYS}
        bare = replace(root, value=rest) if isinstance(root.value, dict) else root
        return Layers(bare, profiles, tuple(map(str, self._files)), self.problems, self.whole)

    def _file(self, tree: Tree, path: Path) -> Node:
        """One file, laid over what it extends."""
        self._files.append(path)
        self._size += tree.root.size
        self.problems += tree.problems
        root = self._single(tree.root)
        extends = root.mapping.get("extends")
        if extends is None:
            return root
        try:
            below = self._base(extends, path)
        except ConfigError as error:
            self.problems += error.details
            self.whole = False
            return root
        return merge(below, root)

    def _base(self, extends: Node, path: Path) -> Node:
        target = self._target(extends, path)
        chain = [os.path.realpath(file) for file in self._files]
        if (real := os.path.realpath(target)) in chain:
            names = " -> ".join(file.name for file in [*self._files[chain.index(real) :], target])
            raise ConfigError([extends.problem(f"this goes in a circle: {names}")])
        if len(chain) > MAX_CHAIN:
            raise ConfigError([extends.problem(f"more than {MAX_CHAIN} files that extend each other")])
        try:
            tree = read(target)
        except ConfigError as error:
            if error.details[0].line:
                raise
            raise ConfigError([extends.problem(str(error))]) from None
        if not isinstance(tree.root.value, dict):
            raise ConfigError([extends.problem(f"{target} is no configuration: that is a mapping")])
        if self._size + tree.root.size > MAX_NODES:
            raise ConfigError([extends.problem("far too many values, all files together")])
        return self._file(tree, target)

    def _target(self, extends: Node, path: Path) -> Path:
        if not (isinstance(extends.value, str) and extends.value and extends.value.isprintable()):
            raise ConfigError(
                [extends.problem(f"{short(extends.value)} is no file; write its path, or @examples/NAME")]
            )
        try:
            return examples.find(extends.value) or path.parent / os.path.expanduser(extends.value)
        except UsageError as error:
            raise ConfigError([extends.problem(f"{error.what}; {error.fix}")]) from None

    def _single(self, root: Node) -> Node:
        """`root` and its profiles without the single form; before they are merged, for files may differ in that."""
        if profiles := root.mapping.get("profiles"):
            value = {name: self._plural(node) for name, node in profiles.mapping.items()} or profiles.value
            root = replace(root, value={**root.mapping, "profiles": replace(profiles, value=value)})
        return self._plural(root)

    def _plural(self, layer: Node) -> Node:
        """The single form, `agent: {...}`, as the list it stands for; and its paths from its own folder."""
        layer = placed(layer, self._files[-1].parent)
        agent = layer.mapping.get("agent")
        if agent is None:
            return layer
        if "agents" in layer.mapping:
            self.problems.append(agent.problem("`agents` is here too; write one of them"))
            return replace(layer, value={key: node for key, node in layer.mapping.items() if key != "agent"})
        team = replace(agent, value=[agent])
        return replace(
            layer,
            value={
                "agents" if key == "agent" else key: {"agent": team}.get(key, node)
                for key, node in layer.mapping.items()
            },
        )

    def _profiles(self, section: Node | None) -> dict[str, Node]:
        if section is None or section.value is None:
            return {}
        if not isinstance(section.value, dict):
            self.problems.append(section.problem(f"{short(section.value)}: profiles are a mapping, by their names"))
        if len(section.mapping) > MAX_PROFILES:
            self.problems.append(section.problem(f"more than {MAX_PROFILES} profiles"))
            return {}
        found = {name: self._profile(node) for name, node in section.mapping.items()}
        return {name: node for name, node in found.items() if node}

    def _profile(self, node: Node) -> Node | None:
        if node.value is None:  # a profile that changes nothing
            return replace(node, value={})
        if isinstance(node.value, dict):
            return node
        self.problems.append(node.problem(f"{short(node.value)}: a profile is a mapping, like the file itself"))
        return None
