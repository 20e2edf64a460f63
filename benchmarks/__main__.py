"""Measures massgen beside its peers: rounds over all of them in shuffled order, a fresh process each, one table.

CPU is the median of the rounds, wall time the best: on a shared machine CPU is the figure to trust, and ratios within a
table more than figures. Needs the development environment (the models are simulated by `tests.providers`).
"""

import argparse
import json
import os
import platform
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import limits, planning, public_configs, quota_stores, sessions, tools, validate
from benchmarks.footprint import footprint
from benchmarks.live_view import live_view
from benchmarks.local_model import local_model
from benchmarks.measure import Probe, measure, servers
from benchmarks.peers import PEERS, PUBLIC, RAW, install
from benchmarks.scenarios import Results, Row, probes, rows, slowness


def main() -> int:
    options = _options()
    peers = [*PEERS, *([PUBLIC] if options.public else [])]
    parts_of = (validate, limits, quota_stores, sessions, planning, tools)
    told = [*rows(public=options.public), *(row for part in parts_of for row in part.rows())]
    wanted = [row for row in told if options.only in row.what]
    needed = {RAW.name, *(figure.probe for row in wanted for figure in (row.figure, row.over, row.beside) if figure)}
    for peer in peers:
        if peer.name in needed:
            install(peer)
    every = [*probes(public=options.public), *(probe for part in parts_of for probe in part.probes())]
    results = run([probe for probe in every if probe.name in needed], options.rounds)
    return report([*(line(row, results) for row in wanted), *parts(options, slowness(results))], results, options)


def parts(options: argparse.Namespace, slower: float) -> Iterator[dict[str, Any]]:
    """The rows that are measured in their own way."""
    every: Mapping[str, tuple[bool, Callable[[], list[dict[str, Any]]]]] = {
        "live view": (True, lambda: live_view(slower)),
        "the public MassGen's configurations": (bool(options.configs), lambda: public_configs.rows(options.configs)),
        "pip install massgen": (options.install, footprint),
        "embedded model": (options.local, local_model),
    }
    for name, (asked, measured) in every.items():
        if asked and options.only in name:
            tell(name)
            yield from measured()
    tell("")


def report(lines: Sequence[Mapping[str, Any]], results: Results, options: argparse.Namespace) -> int:
    slower = f"CPU targets are {slowness(results):.2f} times those of the reference machine"
    print(f"{machine()}; {slower}\n\n{table(lines)}")
    if options.json:
        told = {"machine": machine(), "rounds": options.rounds, "rows": lines, "results": results}
        options.json.write_text(json.dumps(told, indent=1))
    missed = [each["what"] for each in lines if each.get("met") is False]
    return int(bool(options.check and missed))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured")
    parser.add_argument("--only", default="", metavar="TEXT", help="measure the rows with this in their name")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--public", action="store_true", help="also the public MassGen: installs 1.7 GB")
    parser.add_argument("--configs", type=Path, default=public_configs.installed(), help="its configurations")
    parser.add_argument("--install", action="store_true", help="also what installing massgen brings")
    parser.add_argument("--local", action="store_true", help="also the embedded model, against its runtime alone")
    return parser.parse_args()


def run(wanted: Sequence[Probe], rounds: int) -> dict[str, list[dict[str, float]]]:
    results: dict[str, list[dict[str, float]]] = defaultdict(list)
    order = [(number, probe) for number in range(rounds) for probe in random.sample(wanted, len(wanted))]
    with servers([*{probe.pace for probe in wanted}]) as running:
        for number, probe in order:
            tell(f"round {number + 1} of {rounds}: {probe.name}")
            results[probe.name].append(measure(probe, running[probe.pace]))
    tell("")
    return results


def tell(progress: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{progress}", end="", file=sys.stderr, flush=True)


def line(row: Row, results: Results) -> dict[str, Any]:
    value, limit = row.value(results), row.bound(results)
    met = None if limit is None else value == limit if row.exact else value <= limit
    judged = {"limit": limit, "exact": row.exact, "met": met}
    return {"what": row.what, "unit": row.unit, "value": value, "ratio": row.ratio(results), **judged}


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """In Markdown; the column `ours = 1` compares the CPU of the seven calls."""
    cells = [("what", "measured", "ours = 1", "target", ""), ("---", "---:", "---:", "---:", "---")]
    for each in lines:
        limit, ratio = each.get("limit"), each.get("ratio")
        target = "" if limit is None else f"{'=' if each.get('exact') else '≤'} {number(limit)}"
        verdict = {True: "met", False: "**missed**", None: ""}[each.get("met")]
        shown = "" if ratio is None else number(ratio)
        cells.append((each["what"], f"{number(each['value'])} {each['unit']}".strip(), shown, target, verdict))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def number(value: float) -> str:
    """Three digits, without exponent."""
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def machine() -> str:
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"


if __name__ == "__main__":
    sys.exit(main())
