"""Paths in a file of a configuration, made absolute: they are meant from its folder, whoever extends it or goes on with it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from massgen.config.yaml_tree import Node

Pattern: TypeAlias = tuple[str, ...]
"""Keys from the top of the file down; `*` is any key or place."""
Place: TypeAlias = Callable[[str, Path], str]


def placed(layer: Node, folder: Path) -> Node:
    """`layer`, a file or a profile of one, with its paths from `folder`."""
    return _walked(layer, _RULES, folder)


def _walked(node: Node, rules: Mapping[Pattern, Place], folder: Path) -> Node:
    match node.value:
        case dict():
            return (
                replace(
                    node, value={key: _walked(each, _inner(rules, key), folder) for key, each in node.mapping.items()}
                )
                if rules
                else node
            )
        case list():
            return (
                replace(node, value=[_walked(each, _inner(rules, ""), folder) for each in node.items])
                if rules
                else node
            )
        case str() as text if text and () in rules:
            return replace(node, value=rules[()](text, folder))
        case _:
            return node


def _inner(rules: Mapping[Pattern, Place], key: str) -> Mapping[Pattern, Place]:
    return {path[1:]: place for path, place in rules.items() if path and path[0] in (key, "*")}


def _folder(text: str, folder: Path) -> str:
    return text if text.startswith(("/", "${")) else str(folder.absolute() / os.path.expanduser(text))


def _or_name(text: str, folder: Path) -> str:
    """A session or a program: one without a `/` is sought by its name."""
    return _folder(text, folder) if "/" in text or text.startswith(".") else text


def _function(text: str, folder: Path) -> str:
    """One in a module that is in the folder; others are sought where Python finds modules."""
    above, slash, name = text.rpartition("/")
    if slash:
        return f"{Path(_folder(f'{above}/', folder)).as_posix()}/{name}"
    module = folder / name.partition(":")[0].partition(".")[0]
    near = os.path.isfile(f"{module}.py") or os.path.isdir(module)  # not pathlib's, which raise for names too long
    return f"{folder.absolute().as_posix()}/{name}" if near and ":" in name else text


_TOOLS: Mapping[Pattern, Place] = {
    ("mcp_servers", "*", "cwd"): _folder,
    ("mcp_servers", "*", "command"): _or_name,
    ("tools", "*"): _function,
}
_AGENT: Mapping[Pattern, Place] = {
    ("backend", "session"): _or_name,
    **_TOOLS,
    **{("backend", *path): place for path, place in _TOOLS.items()},
}
_RULES: Mapping[Pattern, Place] = {
    **_TOOLS,
    **{("agents", "*", *path): place for path, place in _AGENT.items()},
    **{("agent", *path): place for path, place in _AGENT.items()},
}
