"""What the team can use: five functions that read the data of the outage, two that the winner alone may use after the vote.

Times are of the day, as 14:07, both ends included. The class of each function is said in `team.yaml`, under `tool_access`.
"""

import csv
from collections import Counter
from pathlib import Path
from typing import Literal, TypeAlias

Service: TypeAlias = Literal["/cart", "/checkout", "/search"]
HERE = Path(__file__).parent
MOST = 12
"""Lines of the log that one search tells."""


def changes() -> str:
    """All deployments and changes of settings on the day of the outage, as CSV."""
    return (HERE / "changes.csv").read_text("utf-8")


def metrics(start: str, end: str) -> str:
    """For each minute, as CSV: orders, those of the same minute a week before, connections to payments in use, and allowed."""
    return _csv(_between("metrics.csv", "minute", start, end))


def requests_by_minute(path: Service, start: str, end: str) -> str:
    """For each minute the number of requests of `path`, and how many of them got a 5xx, as CSV."""
    rows = [row for row in _between("log.csv", "time", start, end) if row["path"] == path]
    every = Counter(row["time"][:5] for row in rows)
    failed = Counter(row["time"][:5] for row in rows if row["status"] >= "500")
    return _csv([{"minute": each, "requests": str(every[each]), "failed": str(failed[each])} for each in every])


def requests_by(what: Literal["version", "path", "status", "error"], start: str, end: str, path: str = "") -> str:
    """How many requests (of `path` alone, if given) there were, and how many of them got a 5xx, for each value of a column."""
    rows = [row for row in _between("log.csv", "time", start, end) if path in ("", row["path"])]
    every, failed = Counter(row[what] for row in rows), Counter(row[what] for row in rows if row["status"] >= "500")
    return _csv([{what: each, "requests": str(every[each]), "failed": str(failed[each])} for each in sorted(every)])


def search_log(text: str, start: str = "13:20", end: str = "14:59") -> str:
    """The lines of the log with `text` in them: how many there are, and the first and last of them."""
    rows = [row for row in _between("log.csv", "time", start, end) if text in ",".join(row.values())]
    told = rows if len(rows) <= MOST else [*rows[: MOST // 2], *rows[-MOST // 2 :]]
    return f"{len(rows)} lines, {len(told)} of them here:\n{_csv(told)}"


def write_report(markdown: str) -> str:
    """Write the report of the outage to the file report.md in the working directory."""
    Path("report.md").write_text(markdown, "utf-8")
    return f"report.md: {len(markdown.splitlines())} lines written"


def post_status(text: str) -> str:
    """Show `text` to all customers on the status page. This also sends it to them by mail."""
    with Path("status-page.txt").open("a", encoding="utf-8") as page:
        page.write(f"{text}\n")
    return "It is public now."


def _between(file: str, column: str, start: str, end: str) -> list[dict[str, str]]:
    """The rows whose `column` is in these minutes."""
    for time in (start, end):
        if len(time) != 5 or time[2] != ":":
            raise ValueError(f"{time!r} is no time of the day: write it as 14:07")
    with (HERE / file).open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.DictReader(lines) if start <= row[column][:5] <= end]


def _csv(rows: list[dict[str, str]]) -> str:
    lines = [",".join(row.values()) for row in rows]
    return "\n".join([",".join(rows[0]), *lines] if rows else ["(none)"])
