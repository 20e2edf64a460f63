"""Edits YAML by where its nodes stand, so that order, comments and layout stay as they were."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import yaml

Pair: TypeAlias = tuple[yaml.Node, yaml.Node]
"""A key and its value."""
Pairs: TypeAlias = list[Pair]
Reason: TypeAlias = tuple[str, str]
"""A key, and why it has to go."""

ALIAS = "alias"
"""The tag of a node that is an alias; its value is the anchor's name."""
_BREAK = re.compile(r"\r?\n|\r")
_untyped: Any = yaml
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = _untyped.resolver.Resolver()


def compose(text: str) -> yaml.Node | None:
    """The nodes of `text`, which is YAML of one document, not too deep. An alias is a node of its own."""
    events: Iterator[Any] = _untyped.parse(text, _LOADER)
    return next((_node(event, events) for event in events if isinstance(event, yaml.NodeEvent)), None)


def _node(event: Any, events: Iterator[Any]) -> yaml.Node:
    marks = event.start_mark, event.end_mark
    match event:
        case yaml.AliasEvent():
            return yaml.ScalarNode(ALIAS, event.anchor, *marks)
        case yaml.ScalarEvent():
            tag = event.tag or _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)
            return yaml.ScalarNode(tag, event.value, *marks)
        case _:
            return _collection(event, events)


def _collection(event: Any, events: Iterator[Any]) -> yaml.Node:
    items: list[yaml.Node] = []
    while not isinstance(last := next(events), yaml.CollectionEndEvent):
        items.append(_node(last, events))
    where: tuple[Any, ...] = event.start_mark, last.end_mark, event.flow_style
    if isinstance(event, yaml.SequenceStartEvent):
        return yaml.SequenceNode("tag:yaml.org,2002:seq", items, *where)
    return yaml.MappingNode("tag:yaml.org,2002:map", [*zip(items[::2], items[1::2], strict=True)], *where)


def find(pairs: Pairs, name: str) -> yaml.Node | None:
    return next((value for key, value in pairs if key.value == name), None)


class Editor:
    """Collects edits of a text by where its nodes stand."""

    def __init__(self, text: str, root: yaml.Node) -> None:
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._flows = [*_flows(root)]
        self._edits: list[tuple[int, int, str]] = []
        """From, to, and what comes there; none overlaps another."""

    def result(self) -> str:
        pieces, done = list[str](), 0
        for start, end, new in sorted(self._edits, key=lambda edit: edit[:2]):
            pieces += self._text[done:start], new
            done = end
        return "".join((*pieces, self._text[done:]))

    def replace(self, node: yaml.Node, new: str) -> None:
        """Another scalar in the place of `node`, quoted as it was."""
        start, end = _start(node), node.end_mark.index
        quote = next((each for each in "'\"" if self._text.startswith(each, start)), "")
        self._edits.append((start, end, f"{quote}{new}{quote}"))

    def add(self, pair: Pair, settings: Mapping[str, str]) -> None:
        """More settings after that of `pair`."""
        key, value = pair
        between = self._newline + " " * key.start_mark.column if self._flow(key) is None else ", "
        new = "".join(f'{between}{name}: "{each}"' for name, each in settings.items())
        self._edits.append((self._end(value), self._end(value), new))

    def list_item(self, pair: Pair) -> bool:
        """Make the setting of `pair`, a name and a mapping beneath it, an item of a list. False if it is not laid out so."""
        key, value = pair
        indent = value.start_mark.column - key.start_mark.column
        if self._flow(value) is not None or value.start_mark.line == key.start_mark.line or indent < 2:
            return False
        named = "" if find(value.value, "id") else f"{' ' * (indent - 1)}id: {self._text[_start(key) : self._end(key)]}"
        self._edits.append((_start(key), self._text.index(":", self._end(key)) + 1, f"-{named}"))
        return True

    def comment_out(self, node: yaml.MappingNode, gone: Mapping[int, Sequence[Reason]]) -> None:
        """Make comments of those pairs of `node`, of which at least one stays."""
        pairs: Pairs = node.value
        if (flow := self._flow(node)) is not None:
            self._out_of_flow(pairs, gone, self._line_start(flow))
            return
        for first, last, why in self._runs(pairs, gone):
            begin = _start(pairs[first][0])
            start, end = self._line_start(begin), self._line_end(self._end(pairs[last][1]))
            indent = " " * pairs[first][0].start_mark.column
            lines = [line.removeprefix(indent) for line in self._text[begin:end].splitlines()]
            self._edits.append((start, end, self._comment(why, lines, start)))
        dash = self._text[self._line_start(_start(pairs[0][0])) : _start(pairs[0][0])]
        if 0 in gone and dash.strip():
            heir = _start(next(key for place, (key, _) in enumerate(pairs) if place not in gone))
            self._edits.append((self._line_start(heir), heir, dash))

    def _runs(self, pairs: Pairs, gone: Mapping[int, Sequence[Reason]]) -> list[tuple[int, int, Sequence[Reason]]]:
        """Pairs that go, first and last of each run that stands together and goes for the same reasons."""
        runs: list[tuple[int, int, Sequence[Reason]]] = []
        for place, why in gone.items():
            first, last, before = runs[-1] if runs else (0, -1, why)
            if runs and last == place - 1 and self._together(pairs[last], pairs[place]) and _said(before) == _said(why):
                runs[-1] = first, place, [*before, *why]
            else:
                runs.append((place, place, why))
        return runs

    def _together(self, above: Pair, below: Pair) -> bool:
        return not self._text[self._end(above[1]) : _start(below[0])].strip()

    def _out_of_flow(self, pairs: Pairs, gone: Mapping[int, Sequence[Reason]], above: int) -> None:
        """A comment cannot stand within `{...}` on one line: it goes above the line where that begins."""
        last = max(place for place in range(len(pairs)) if place not in gone)
        for place, why in gone.items():
            start, end = _start(pairs[place][0]), self._end(pairs[place][1])
            if place < last:
                end = _start(pairs[place + 1][0])
            else:
                start = self._end(pairs[place - 1][1])
            comment = self._comment(why, self._text[start:end].strip(", \t\r\n").splitlines(), above)
            self._edits += (above, above, comment + self._newline), (start, end, "")

    def _comment(self, why: Sequence[Reason], old: Sequence[str], start: int) -> str:
        """The reasons, one line each, and the `old` lines, all as comments as far right as the line at `start`: further
        right they would be text of a block scalar above it."""
        keys_by_reason: dict[str, list[str]] = {}
        for key, reason in why:
            keys_by_reason.setdefault(reason, []).append(key)
        several = len(keys_by_reason) > 1
        reasons = [
            f"massgen: {', '.join(names)}: {reason}" if several else f"massgen: {reason}"
            for reason, names in keys_by_reason.items()
        ]
        line = self._text[start : self._line_end(start)]
        indent = line[: len(line) - len(line.lstrip(" "))]
        return self._newline.join(f"{indent}# {each}".rstrip() for each in (*reasons, *old))

    def _flow(self, node: yaml.Node) -> int | None:
        """Where the outermost `{...}` or `[...]` around `node` begins; None if it is in none."""
        at = _start(node)
        return next((start for start, end in self._flows if start <= at < end), None)

    def _end(self, node: yaml.Node) -> int:
        """Past the last character of `node`: the parser's own mark is often at whatever follows."""
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            return self._end(_children(node)[-1])
        start = _start(node)
        return start + len(self._text[start : node.end_mark.index].rstrip())

    def _line_start(self, index: int) -> int:
        return max(self._text.rfind(each, 0, index) for each in "\r\n") + 1

    def _line_end(self, index: int) -> int:
        found = _BREAK.search(self._text, index)
        return found.start() if found else len(self._text)


def _flows(node: yaml.Node) -> Iterator[tuple[int, int]]:
    """From where to where each outermost `{...}` and `[...]` goes."""
    if isinstance(node, yaml.CollectionNode) and node.flow_style:
        yield _start(node), node.end_mark.index
    else:
        for child in _children(node):
            yield from _flows(child)


def _said(reasons: Sequence[Reason]) -> set[str]:
    return {reason for _, reason in reasons}


def _children(node: yaml.Node) -> list[yaml.Node]:
    match node:
        case yaml.MappingNode():
            return [each for pair in node.value for each in pair]
        case yaml.SequenceNode():
            return node.value
        case _:
            return []


def _start(node: yaml.Node) -> int:
    return node.start_mark.index
