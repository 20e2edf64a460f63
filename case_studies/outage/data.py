"""Writes what the team investigates: `python data.py [FOLDER]`. A small shop's log, changes and metrics around an outage of its
checkout on Wednesday, 2026-10-14 (UTC), invented, and the same at every run.

The pool of connections to the payment service is made smaller at 13:31, which does no harm before the weekly newsletter
brings its visitors, and is mended at 14:38. A web release at 13:58 and a search release at 14:11 have nothing to do with it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

FIRST, LAST = 13 * 60 + 20, 14 * 60 + 59
"""Minutes of the day."""
NEWSLETTER, DOWN, MENDED = 14 * 60 + 2, 14 * 60 + 7, 14 * 60 + 38
RELEASE, INDEXING = 13 * 60 + 58, range(14 * 60 + 12, 14 * 60 + 20)
CHANGES = """\
time,id,service,by,what
09:12,c-205,cart,mina,cart 3.18.0: prices with and without tax
13:31,c-207,payments,ops-bot,settings: pool_size 24 -> 4 (copied from the staging file)
13:58,w-412,web,jonas,web v412 to one half of the servers: banner for the newsletter
14:11,s-088,search,mina,search 0.88: new index of products
14:38,c-208,payments,ops-bot,settings: pool_size 4 -> 24
"""


def requests(dice: Random) -> Iterator[str]:
    """The log: a line for each request."""
    yield "time,version,path,status,ms,error"
    for minute in range(FIRST, LAST + 1):
        busy = 6.4 if minute >= NEWSLETTER else 3.4
        every = [
            path for path, share in SHARES.items() for _ in range(round(busy * share * (0.7 + 0.6 * dice.random())))
        ]
        for second, path in sorted((int(60 * dice.random()), path) for path in every):
            version = "v412" if minute >= RELEASE and dice.random() < 0.5 else "v411"
            yield f"{clock(minute)}:{second:02},{version},{path},{','.join(answered(path, minute, dice))}"


SHARES = {"/cart": 0.5, "/checkout": 1.0, "/search": 0.8}


def answered(path: str, minute: int, dice: Random) -> tuple[str, str, str]:
    """Status, milliseconds and error of a request."""
    luck, ms = dice.random(), str(80 + int(240 * dice.random()))
    if path == "/checkout" and DOWN <= minute < MENDED and luck < 0.68:
        return "503", str(3000 + int(40 * dice.random())), "no connection to payments within 3 s: pool exhausted"
    if path == "/search" and minute in INDEXING and luck < 0.5:
        return "504", "1000", "index is being built"
    if path == "/checkout" and luck > 0.97:
        return "402", ms, "card declined"
    return ("500", ms, "template: no such image") if path == "/cart" and luck > 0.985 else ("200", ms, "")


def metrics(log: list[str], dice: Random) -> Iterator[str]:
    """A line for each minute."""
    yield "minute,orders,orders_week_before,pool_in_use,pool_size"
    for minute in range(FIRST, LAST + 1):
        size = 4 if 13 * 60 + 31 <= minute < MENDED else 24
        tried = [line.split(",") for line in log if line.startswith(clock(minute)) and ",/checkout," in line]
        orders = sum(status == "200" for _, _, _, status, *_ in tried)
        before = round((6.2 if minute >= NEWSLETTER else 3.2) * (0.7 + 0.6 * dice.random()))
        use = size if DOWN <= minute < MENDED else min(size - 1, len(tried) // 2 + 1)
        yield f"{clock(minute)},{orders},{before},{use},{size}"


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def main(folder: Path) -> None:
    dice = Random(20261014)
    log = [*requests(dice)]
    texts = {"log.csv": log, "metrics.csv": [*metrics(log, dice)], "changes.csv": CHANGES.splitlines()}
    for name, lines in texts.items():
        (folder / name).write_bytes("".join(f"{line}\n" for line in lines).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
