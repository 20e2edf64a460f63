"""The file of the processes of one machine: each step is one transaction. Nothing here is asynchronous."""

import os
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from massgen.limiter.quotas import Blocked
from massgen.limiter.stores.accounts import SCHEMA, Account
from massgen.limiter.stores.shared import SEEN, Answer, Away, Step

VERSION = 1
BUSY = 2.0
"""Seconds to wait for the transactions of other processes; one takes less than a millisecond."""
MACHINE = """
CREATE TABLE machine (boot TEXT NOT NULL, latest REAL NOT NULL);
CREATE TABLE owners (owner TEXT PRIMARY KEY, seen REAL NOT NULL) WITHOUT ROWID;
INSERT INTO machine VALUES ('', 0);
"""
"""Times are seconds since the machine was started; `boot` says which start it was."""


@dataclass(frozen=True, slots=True)
class Sense:
    """Who uses a file, and what tells the time."""

    owner: str
    lease: float
    clock: Callable[[], float]
    wall: Callable[[], float]
    boot: Callable[[], str]


class Busy(Away):
    """Another process is writing, and it takes longer than the file's patience."""


class QuotaFile:
    """A connection to the file; each step is one transaction. Raises `Away`, whatever is wrong with the file."""

    def __init__(self, path: Path, sense: Sense, patience: float) -> None:
        self._path, self._sense, self._patience = path, sense, patience
        self._db: sqlite3.Connection | None = None
        self.sharers, self.replaced, self._inode = 1, False, 0

    def open(self) -> None:
        """Make the file, or make sure that it can be used."""
        with _told():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            db = self.connect()
            _patiently(lambda: db.execute("PRAGMA journal_mode = WAL").fetchone())
            with self._transaction():
                _create(db)
                self._start(db, self._sense.clock(), self._sense.wall())
            self.replaced, self._inode = False, self._path.stat().st_ino

    def connect(self) -> sqlite3.Connection:
        self.close()
        with _told():
            db = sqlite3.connect(self._path, timeout=self._patience, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA page_size = 1024")  # rows are small, and what is written is whole pages
        db.execute("PRAGMA synchronous = NORMAL")
        if not self._patience:
            db.execute("PRAGMA wal_autocheckpoint = 0")  # it waits for the disk
        self._db = db
        return db

    def close(self) -> None:
        if self._db:
            self._db.close()
        self._db = None

    def leave(self) -> None:
        """Close the file for good: this process's calls count as acknowledged."""
        with suppress(Away), _told(), self._transaction() as db:
            _end(db, self._sense.owner, self._sense.clock())
            for table in ("owners", "waiters"):
                db.execute(f"DELETE FROM {table} WHERE owner = ?", (self._sense.owner,))  # noqa: S608 - a name of ours
        self.close()

    def alive(self) -> None:
        """A sign of life, and a look whether the file is still the one that others see. Whatever is wrong, the next step says."""
        with suppress(Away), _told(), self._transaction() as db:
            self._beat(db, self._sense.clock())
        try:
            self.replaced = self._path.stat().st_ino != self._inode
        except OSError:
            self.replaced = True

    def do(self, step: Step, ago: float) -> Answer:
        with _told(), self._transaction() as db:
            now, wall = self._sense.clock(), self._sense.wall()
            self._reap(db, now)
            account = Account(db, step.key)
            account.advance(step.limits, now, wall)
            answer = self._apply(account, step, now, wall, ago)
            account.save()
        return answer

    def _apply(self, account: Account, step: Step, now: float, wall: float, ago: float) -> Answer:
        match step.verb:
            case "reserve" | "count":
                return self._count(account, step, now, wall)
            case "acked":
                account.acked(step.ticket, now - ago)
            case "finish":
                account.finish(step.ticket, step.vector, now - ago)
            case "release":
                account.release(step.ticket)
            case "hold":
                account.hold(step.seconds - ago, step.dimension, now, wall)
            case "use":
                return account.use(step.limits)
        return None

    def _count(self, account: Account, step: Step, now: float, wall: float) -> Blocked | None:
        assert step.vector
        if step.verb == "reserve" and (
            blocked := account.check(self._sense.owner, step.limits, step.vector, now, wall)
        ):
            return blocked
        account.count(self._sense.owner, step.ticket, step.vector, spent=step.limits.cost is not None)
        return None

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        db = self._db
        if db is None:
            raise Away("it is closed")
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.rollback()
            raise
        db.commit()

    def _beat(self, db: sqlite3.Connection, now: float) -> None:
        db.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (self._sense.owner, now))
        db.execute("DELETE FROM owners WHERE seen < ?", (now - max(SEEN, 2 * self._sense.lease),))
        db.execute("UPDATE machine SET latest = ?", (now,))
        self.sharers = db.execute("SELECT count(*) FROM owners").fetchone()[0]

    def _reap(self, db: sqlite3.Connection, now: float) -> None:
        """The calls of the dead count as acknowledged when their lease ended."""
        query, silent = "SELECT owner, seen FROM owners WHERE seen < ? AND owner <> ?", now - self._sense.lease
        for owner, seen in db.execute(query, (silent, self._sense.owner)).fetchall():
            _end(db, owner, seen + self._sense.lease)

    def _start(self, db: sqlite3.Connection, now: float, wall: float) -> None:
        """After a start of the machine its clock began anew: what was acknowledged before counts from now on."""
        known, latest = db.execute("SELECT boot, latest FROM machine").fetchone()
        if known != self._sense.boot() or latest > now:
            for (owner,) in db.execute("SELECT DISTINCT owner FROM calls").fetchall():
                _end(db, owner, now)
            db.execute("DELETE FROM owners")
            db.execute("DELETE FROM waiters")
            db.execute("UPDATE events SET at = ?", (now,))
            for (key,) in db.execute("SELECT key FROM accounts").fetchall():
                account = Account(db, key)
                account.restart(now, wall)
                account.save()
            db.execute("UPDATE machine SET boot = ?", (self._sense.boot(),))
        self._beat(db, now)


def _end(db: sqlite3.Connection, owner: str, at: float) -> None:
    """Every call of `owner` is over, and was acknowledged `at` the latest."""
    for key, ticket in db.execute("SELECT key, ticket FROM calls WHERE owner = ?", (owner,)).fetchall():
        account = Account(db, key)
        account.finish(ticket, None, at)
        account.save()


@contextmanager
def _told() -> Generator[None]:
    """Whatever is wrong with the file is told as `Away`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname in ("SQLITE_BUSY", "SQLITE_LOCKED"):
            raise Busy("another program keeps it locked") from None
        raise Away(f"{error} (the folder and the file must be writable, the disk not full)") from None
    except sqlite3.DatabaseError as error:
        raise Away(f"{error}; delete the file, and it is made anew") from None
    except OSError as error:
        raise Away(f"{error.strerror}; set MASSGEN_HOME to a folder that you can write") from None
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise Away(f"its contents are damaged ({error!r}); delete the file, and it is made anew") from None


def _patiently(step: Callable[[], object]) -> None:
    """SQLite does not wait where two processes create a file at once."""
    end = time.monotonic() + BUSY
    while True:
        try:
            step()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _create(db: sqlite3.Connection) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION):
        raise Away(f"another version of massgen wrote it (format {version}, this one knows {VERSION}); delete the file")
    if version == 0:
        for statement in filter(str.strip, (SCHEMA + MACHINE).split(";")):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
