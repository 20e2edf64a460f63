"""How the public MassGen's own configurations fare: each loads, or is refused by name, and loads once migrated.

python -m benchmarks.public_configs FOLDER [--structures FILE]
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.peers import PUBLIC
from massgen.config.loading import load
from massgen.config.migration import migrate
from massgen.errors import ConfigError, Problem

PROSE = ("system_message", "description", "planning_mode_instruction", "task", "prompt")
"""Settings that hold text for models."""
SILENT = "are refused with a problem that does not say what to do"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a configuration."""

    refused: Sequence[str]
    """The problems it is refused with."""
    nameless: Sequence[str]
    """Those of them that name no alternative."""
    left: Sequence[str]
    """The problems after it was migrated."""


def fate(file: Path) -> Fate:
    refused = problems(file)
    left = migrate(file).problems
    return Fate(
        [*map(str, refused)], [str(each) for each in refused if nameless(each)], [f"{file}{each}" for each in left]
    )


def problems(file: Path) -> Sequence[Problem]:
    """What loading says; variables that it names are set."""
    env = dict.fromkeys(re.findall(r"\$\{(\w+)\}", file.read_text()), "http://localhost/v1")
    try:
        load(file, env)
    except ConfigError as error:
        return error.details
    return ()


def nameless(problem: Problem) -> bool:
    """Whether a problem says neither what to do instead nor who has what is missing."""
    return not any(each in problem.message for each in _REMEDIES)


_REMEDIES = (
    "the public MassGen's: ",
    "those that have: ",
    "beside functions. ",
    "in the API that ",
    "is not allowed; ",
    "; of a server's tools the name is ",
)


def files(folder: Path) -> list[Path]:
    """The configurations below `folder`: YAML files that name agents."""
    every = sorted(path for path in folder.rglob("*.y*ml"))
    return [path for path in every if {"agents", "agent"} & (yaml.safe_load(path.read_text()) or {}).keys()]


def structure(file: Path) -> Any:
    """The settings of a configuration without its prose."""
    return _bare(yaml.safe_load(file.read_text()))


def _bare(data: Any, key: str = "") -> Any:
    match data:
        case Mapping():
            return {str(name): _bare(value, str(name)) for name, value in data.items()}
        case list():
            return [_bare(value, key) for value in data]
        case str() if key in PROSE or "\n" in data or len(data) > 80:
            return "text"
        case _:
            return data


def installed() -> Path | None:
    """The configurations of the public MassGen that `python -m benchmarks --public` installed."""
    return next(PUBLIC.python.parents[1].glob("lib/python*/site-packages/massgen/configs"), None)


def rows(folder: Path) -> list[dict[str, Any]]:
    """Rows of the benchmark's table: the target is that every refusal says what to do."""
    what = "the public MassGen's configurations"
    limits = {SILENT: 0}
    told = counts([fate(file) for file in files(folder)])
    judged = {name: {"limit": limits[name], "met": count <= limits[name]} for name, count in told if name in limits}
    return [{"what": f"{what}: {name}", "unit": "", "value": count, **judged.get(name, {})} for name, count in told]


def table(fates: Sequence[Fate]) -> str:
    return "\n".join(f"{value:6} {name}" for name, value in counts(fates))


def counts(fates: Sequence[Fate]) -> list[tuple[str, int]]:
    problems = Counter(len(each.refused) for each in fates)
    return [
        ("configurations", len(fates)),
        ("load as they are", problems[0]),
        ("are refused, every problem with what to do", sum(bool(each.refused and not each.nameless) for each in fates)),
        (SILENT, sum(bool(each.nameless) for each in fates)),
        ("problems in all", sum(len(each.refused) for each in fates)),
        ("load once migrated", sum(not each.left for each in fates)),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.public_configs", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--structures", type=Path, help="write what is in them, without prose, to this file")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell every problem")
    options = parser.parse_args()
    found = files(options.folder)
    if options.structures:
        bare = {str(file.relative_to(options.folder).with_suffix("")): structure(file) for file in found}
        lines = [f"{json.dumps(name)}: {json.dumps(each, separators=(',', ':'))}" for name, each in bare.items()]
        options.structures.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    fates = [fate(file) for file in found]
    for each in fates:
        told = each.refused if options.verbose else ()
        lines = [
            *told,
            *(f"  no alternative: {line}" for line in each.nameless),
            *(f"  left: {line}" for line in each.left),
        ]
        print("\n".join(lines), end="\n" if lines else "")
    print(table(fates))
    return int(any(each.nameless for each in fates))


if __name__ == "__main__":
    raise SystemExit(main())
