"""Makes a configuration of the public MassGen one of ours: what is not here becomes a comment that says why.

The text is edited, not written anew: its order, comments and layout stay the user's."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import yaml

from massgen import builtins
from massgen.config import BackendType, Where, keys
from massgen.config.legacy import RENAMED, TYPES, VALUES, Instead, instead, section
from massgen.config.loading import environment, load
from massgen.config.yaml_edit import ALIAS, Editor, Pair, Pairs, compose, find
from massgen.config.yaml_tree import dotted, read
from massgen.errors import ConfigError, Problem

_untyped: Any = yaml
_SECTIONS: Mapping[str, Where] = {
    "top": (),
    "agent": ("agents", 0),
    "backend": ("agents", 0, "backend"),
    "server": ("mcp_servers", ""),
    "orchestrator": ("orchestrator",),
    "coordination": ("orchestrator", "coordination"),
    "timeout_settings": ("timeout_settings",),
    "ui": ("ui",),
}


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a setting: its line (from 1) in the old file, its name as in `ui.type`, and why."""

    line: int
    key: str
    what: str

    @property
    def name(self) -> str:
        """Its key alone."""
        return self.key.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Migrated:
    """The new text, what was changed in the order of the file, and what is still wrong with it (its lines, not the old ones)."""

    text: str
    changes: tuple[Change, ...]
    problems: tuple[Problem, ...]


def migrate(path: Path) -> Migrated:
    """The configuration in the file `path` as one of ours. Raises `ConfigError` where that cannot be read at all."""
    read(path)  # refuses what is too large or too deep
    if not path.is_file():
        raise ConfigError([f"{path}: a pipe or device; only a file can be migrated"])
    text = path.read_bytes().decode()
    edited, changes = rewrite(text)
    return Migrated(edited, changes, _problems(edited, path))


def rewrite(text: str) -> tuple[str, tuple[Change, ...]]:
    """`text`, which is YAML of one document and not too deep, without what only the public MassGen has; and each change."""
    if text.startswith("\ufeff"):  # the parser's places do not count it
        edited, changes = rewrite(text[1:])
        return f"\ufeff{edited}", changes
    root = compose(text)
    if not isinstance(root, yaml.MappingNode):
        return text, ()
    editor = Editor(text, root)
    walk = _Walk(editor)
    walk.mapping(root, ())
    return editor.result(), tuple(sorted(walk.changes, key=lambda change: change.line))


def _problems(text: str, path: Path) -> tuple[Problem, ...]:
    """What loading `text` in the place of `path` says."""
    with _beside(path) as file:
        file.write(text.encode())
        file.flush()
        try:
            load(Path(file.name), _Elsewhere(environment()))
        except ConfigError as error:
            own = (replace(each, file="" if each.file == file.name else each.file) for each in error.details)
            return tuple(own)
    return ()


class _Elsewhere(dict[str, str]):
    """The environment of whoever uses the configuration: there, variables that are not set here are."""

    def get(self, key: str, default: Any = None, /) -> Any:
        return super().get(key, default if key == "MASSGEN_PROFILE" else "http://localhost/v1")


def _beside(path: Path) -> Any:
    """A file in the folder of `path`, as what it `extends` is sought from there; elsewhere if that cannot be written."""
    try:
        return tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".yaml")
    except OSError:
        return tempfile.NamedTemporaryFile(suffix=".yaml")


class _Walk:
    """Goes through a configuration and decides what becomes of each setting."""

    def __init__(self, editor: Editor) -> None:
        self.changes: list[Change] = []
        self._editor = editor
        self._refused: dict[Where, str] = {}
        """Settings that the backend's provider has not, and why."""

    def mapping(self, node: yaml.MappingNode, path: Where) -> list[Change]:
        """Migrate what is in `node`. If nothing of it would stay, all its changes, for the key that holds it."""
        pairs: Pairs = node.value
        if section((*path, "type")) == "backend":
            self._check_provider(pairs, path)
        gone = {place: why for place, pair in enumerate(pairs) if (why := self._pair(pair, pairs, path))}
        if len(gone) == len(pairs):
            return [change for why in gone.values() for change in why] if path and isinstance(path[-1], str) else []
        self.changes += (replace(each, what=f"now a comment: {each.what}") for why in gone.values() for each in why)
        self._editor.comment_out(node, {place: [(each.name, each.what) for each in why] for place, why in gone.items()})
        return []

    def _pair(self, pair: Pair, pairs: Pairs, path: Where) -> list[Change]:
        """Why this setting has to go; empty if it stays."""
        key, value = pair
        name, place = str(key.value), (*path, str(key.value))
        where = section(place)
        if place in self._refused:
            return [self._change(key, place, self._refused[place])]
        if name in _known(where):
            self._same_key(where, pair, pairs, path)
        elif (where, name) in RENAMED:
            return self._renamed(where, pair, pairs, path)
        elif why := instead(place):
            return [self._change(key, place, why.removesuffix("; leave it out"))]
        return self._inside(value, place)

    def _inside(self, value: yaml.Node, path: Where) -> list[Change]:
        match value:
            case yaml.MappingNode() if path == ("agents",):
                self._team(value)
            case yaml.MappingNode():
                return self.mapping(value, path)
            case yaml.SequenceNode():
                for place, item in enumerate(value.value):
                    self._inside(item, (*path, place))
            case _:
                pass
        return []

    def _team(self, node: yaml.MappingNode) -> None:
        """Agents by name become the list that agents are here."""
        for place, (key, value) in enumerate(node.value):
            if isinstance(value, yaml.MappingNode) and self._editor.list_item((key, value)):
                self.changes.append(
                    self._change(key, ("agents", str(key.value)), "agents are a list, each with its id")
                )
                self.mapping(value, ("agents", place))

    def _renamed(self, where: str, pair: Pair, pairs: Pairs, path: Where) -> list[Change]:
        (key, value), renamed = pair, RENAMED[where, str(pair[0].value)]
        place = (*path, str(key.value))
        new = renamed.values.get(_word(value)) or VALUES.get((where, renamed.key), {}).get(_word(value))
        if find(pairs, renamed.key):
            return [self._change(key, place, f"`{renamed.key}` is here too")]
        if renamed.values and not new:
            return [self._change(key, place, instead(place))]
        self._editor.replace(key, renamed.key)
        if new:
            self._editor.replace(value, new)
        self.changes.append(self._change(key, place, f"is now `{renamed.key}{f': {new}' if new else ''}`"))
        return []

    def _same_key(self, where: str, pair: Pair, pairs: Pairs, path: Where) -> None:
        """A key that both know, with a value that only the public MassGen does."""
        key, value = pair
        name, word = str(key.value), _word(value)
        if new := VALUES.get((where, name), {}).get(word):
            self._editor.replace(value, new)
            self.changes.append(self._change(key, (*path, name), f"{word} is now {new}, the nearest there is"))
        if (where, name) == ("backend", "type") and word in TYPES and TYPES[word].type:
            self._retyped(TYPES[word], pair, pairs, path)

    def _retyped(self, to: Instead, pair: Pair, pairs: Pairs, path: Where) -> None:
        key, value = pair
        self._editor.replace(value, to.type)
        model = find(pairs, "model")
        if model and to.model_prefix:
            self._editor.replace(model, f"{to.model_prefix}{model.value}")
        added = {name: each for name, each in to.settings.items() if not find(pairs, name)}
        self._editor.add(pair, added)
        told = "".join(f", {name} {each}" for name, each in added.items())
        self.changes.append(self._change(key, (*path, "type"), f"{value.value} is now {to.type}{told}: {to.why}"))

    def _check_provider(self, pairs: Pairs, path: Where) -> None:
        data = {str(key.value): _data(value) for key, value in pairs}
        kind = str(data.get("type"))
        kind = TYPES[kind].type if kind in TYPES else kind
        if kind in get_args(BackendType):
            self._refused |= {(*path, *place): why for place, why in _unsupported(kind, data).items()}

    def _change(self, key: yaml.Node, path: Where, what: str) -> Change:
        printable = "".join(each if each.isprintable() else " " for each in what)
        return Change(key.start_mark.line + 1, dotted(path), printable)


def _known(where: str) -> list[str]:
    return keys(_SECTIONS[where]) if where else []


def _word(value: yaml.Node) -> str:
    """The scalar `value` as YAML means it; empty if it is none."""
    return str(_data(value)).lower() if isinstance(value, yaml.ScalarNode) and value.tag != ALIAS else ""


def _unsupported(kind: str, backend: dict[str, Any]) -> dict[tuple[str, ...], str]:
    """All that has to go before a provider of type `kind` supports what is left in `backend`."""
    refused: dict[tuple[str, ...], str] = {}
    while found := {place: why for place, why in builtins.unsupported(kind, backend) if place not in refused}:
        refused |= found
        for *above, last in found:
            section = backend
            for step in above:
                section = section[step]
            del section[last]
    return refused


def _data(node: yaml.Node) -> Any:
    """What `node` says; None for what is not understood."""
    try:
        return _untyped.constructor.SafeConstructor().construct_document(node)
    except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError):
        return None
