"""What the sessions hold, found fast: an index in the cache folder, derived from the logs and never more than they say.

It may be deleted at any time. Only logs whose size or time of change differ are read again. A text is found by whole words,
whatever their case and accents; Chinese, Japanese and Thai, which part no words, by characters.
"""

import json
import os
import sqlite3
import stat
import unicodedata
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from massgen import __version__
from massgen.errors import LogError, MassgenError
from massgen.paths import cache_dir
from massgen.sessions import LOG_NAME
from massgen.sessions.digest import Session, Text, digest, texts
from massgen.sessions.words import Piece, matching, parsed, part, tokens

T = TypeVar("T")
Stamps: TypeAlias = Mapping[str, tuple[int, int]]
"""Session -> its log's size and time of change (ns)."""

LAYOUT = zlib.crc32(f"2 {__version__} {unicodedata.unidata_version}".encode()) >> 1
"""Of the index. One of another layout is built anew, or of a massgen or a Python that may read logs and words differently."""
SHOWN = 3
"""Texts of a session that a search shows."""
PATIENCE = 2.0
"""Seconds to wait for another process that builds the index; then this one reads the logs for itself."""

_TABLES = (
    "TABLE session (id TEXT PRIMARY KEY, size INTEGER, changed INTEGER, digest TEXT, problem TEXT)",
    "TABLE place (folder TEXT, last REAL, id TEXT)",
    "INDEX place_by_folder ON place (folder, last, id)",
    "INDEX place_by_session ON place (id)",
    "TABLE said (place INTEGER PRIMARY KEY, id TEXT, kind TEXT, agent TEXT, body TEXT)",
    "INDEX said_by_session ON said (id)",
    "VIRTUAL TABLE word USING fts5 (words, content='', tokenize='ascii')",
)


@dataclass(frozen=True, slots=True)
class Found:
    """A session in which a search found `count` texts, the first of them in parts."""

    session: Session
    count: int
    texts: tuple[Text, ...]


@dataclass(slots=True)
class Index:
    """The sessions under `root`, as their logs were when it was opened. `problems`: those that cannot be read, and why."""

    root: Path
    db: sqlite3.Connection
    problems: list[str] = field(default_factory=list[str])

    def sessions(self) -> list[Session]:
        """All that can be read, the latest first."""
        rows = self.db.execute("SELECT digest FROM session WHERE problem = '' ORDER BY id DESC")
        return [_session(digest) for (digest,) in rows]

    def latest(self, folder: str) -> str | None:
        """The session that was last active among those asked in the working directory `folder`, or (empty) among all. Active:
        by its last fact, which, unlike a file's time, a copy or a backup leaves as it is."""
        sql = "SELECT id FROM place WHERE folder = ? ORDER BY last DESC, id DESC LIMIT 1"
        row = self.db.execute(sql, (_clean(folder),)).fetchone()
        return row[0] if row else None

    def search(self, words: str, limit: int) -> tuple[list[Found], int]:
        """The latest `limit` sessions with a text that holds all `words`, and how many there are. Raises `UsageError`."""
        sql = "SELECT said.id, place FROM word JOIN said ON place = word.rowid WHERE word MATCH ? ORDER BY place"
        places: dict[str, list[int]] = {}
        pieces = parsed(words)
        for session, place in self.db.execute(sql, (matching(pieces),)):
            places.setdefault(session, []).append(place)
        latest = sorted(places, reverse=True)[:limit]
        return [self._found(each, places[each], pieces) for each in latest], len(places)

    def refresh(self, stamps: Stamps) -> None:
        """Read what is new or has changed since the index was last brought up to date."""
        rows = self.db.execute("SELECT id, size, changed, problem FROM session")
        known = {session: ((size, changed), problem) for session, size, changed, problem in rows}
        for session in [each for each in known if each not in stamps]:
            with self.db:
                self._forget(session)
        for session, stamp in stamps.items():
            if known.get(session, ((), ""))[0] != stamp:
                self._read(session, stamp)
            elif problem := known[session][1]:
                self.problems.append(problem)

    def compact(self) -> None:
        """Keep no trace of what was forgotten."""
        with self.db:
            self.db.execute("INSERT INTO word (word) VALUES ('optimize')")

    def _found(self, session: str, places: Sequence[int], pieces: Sequence[Piece]) -> Found:
        (digest,) = self.db.execute("SELECT digest FROM session WHERE id = ?", (session,)).fetchone()
        marks = ", ".join("?" * len(places[:SHOWN]))
        sql = f"SELECT kind, agent, body FROM said WHERE place IN ({marks}) ORDER BY place"  # noqa: S608 - question marks
        rows = self.db.execute(sql, places[:SHOWN])
        texts = tuple(Text(kind, agent, part(body, pieces[0])) for kind, agent, body in rows)
        return Found(_session(digest), len(places), texts)

    def _read(self, session: str, stamp: tuple[int, int]) -> None:
        from massgen.log import read
        from massgen.log.blobs import BlobError

        short, problem, said, passing = Session(session), "", list[Text](), False
        try:
            facts = read(self.root / session / LOG_NAME)
            short, said = digest(session, facts), [*texts(facts)]
        except LogError as error:
            problem = _clean(f"{error.where}: {error.what}")
            cause = error.__context__
            passing = isinstance(cause, OSError | BlobError)  # it may be readable tomorrow, and no stamp would tell
            self.problems.append(problem)
        with self.db:
            self._forget(session)
            if not passing:
                row = (session, *stamp, json.dumps(asdict(short)), problem)
                self.db.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?)", row)
            for folder in () if problem else ("", *short.folders):
                self.db.execute("INSERT INTO place VALUES (?, ?, ?)", (_clean(folder), short.last, session))
            for each in said:
                self._add(session, Text(each.kind, _clean(each.agent), _clean(each.body)))

    def _add(self, session: str, said: Text) -> None:
        sql = "INSERT INTO said (id, kind, agent, body) VALUES (?, ?, ?, ?)"
        made = self.db.execute(sql, (session, said.kind, said.agent, said.body))
        self.db.execute("INSERT INTO word (rowid, words) VALUES (?, ?)", (made.lastrowid, " ".join(tokens(said.body))))

    def _forget(self, session: str) -> None:
        self.db.execute("DELETE FROM session WHERE id = ?", (session,))
        self.db.execute("DELETE FROM place WHERE id = ?", (session,))
        for place, body in self.db.execute("SELECT place, body FROM said WHERE id = ?", (session,)).fetchall():
            sql = "INSERT INTO word (word, rowid, words) VALUES ('delete', ?, ?)"
            self.db.execute(sql, (place, " ".join(tokens(body))))
        self.db.execute("DELETE FROM said WHERE id = ?", (session,))


def consult(root: Path, ask: Callable[[Index], T], told: Callable[[str], None] = lambda problem: None) -> T:
    """What `ask` makes of the index of `root`; `told` hears once of each session that cannot be read. An index that is
    damaged is built anew; one that cannot be kept, or that another process holds, is made in memory."""
    problems = list[str]()
    stamps = scan(root, problems.append)
    attempts, failed = [_kept, _anew, _in_memory], ""
    while attempts:
        try:
            with closing(attempts.pop(0)(_file(root))) as db:
                index = Index(root, db, [*problems])
                index.refresh(stamps)
                made = ask(index)
            for problem in index.problems:
                told(problem)
            return made
        except (sqlite3.Error, OSError) as error:
            failed = str(error)
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                attempts = [_in_memory]
    raise MassgenError(f"the sessions cannot be indexed: {failed}", where=str(root))


def _file(root: Path) -> Path:
    return cache_dir() / "sessions" / f"{zlib.crc32(os.fsencode(root.absolute())):08x}.db"


def scan(root: Path, told: Callable[[str], None]) -> dict[str, tuple[int, int]]:
    """Every session under `root` with its stamp; `told` hears of those that cannot even be looked at."""
    found: dict[str, tuple[int, int]] = {}
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return found
    except OSError as error:
        raise LogError(f"the sessions cannot be read: {error.strerror or error}", where=str(root)) from None
    for name in names:
        log = os.path.join(root, name, LOG_NAME)
        try:
            status = os.stat(log)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            told(f"{_clean(log)}: cannot be read: {error.strerror or error}")
            continue
        if stat.S_ISREG(status.st_mode) and _clean(name) == name:
            found[name] = (status.st_size, status.st_mtime_ns)
    return found


def _session(short: str) -> Session:
    try:
        fields: dict[str, Any] = json.loads(short)
        fields["agents"] = tuple((agent, model) for agent, model in fields["agents"])
        fields |= {name: tuple(fields[name]) for name in ("folders", "templates")}
        return Session(**fields)
    except (ValueError, TypeError, KeyError):
        raise sqlite3.DatabaseError("a row of the index is damaged") from None


def _clean(text: str) -> str:
    """`text` without what no database takes: half surrogates, as JSON may hold them."""
    return text.encode("utf-8", "replace").decode()


def _kept(file: Path) -> sqlite3.Connection:
    """The index in `file`, made if there is none; for its owner only, as the logs are."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    return _prepared(str(file))


def _anew(file: Path) -> sqlite3.Connection:
    file.unlink(missing_ok=True)
    return _kept(file)


def _in_memory(file: Path) -> sqlite3.Connection:
    return _prepared(":memory:")


def _prepared(name: str) -> sqlite3.Connection:
    db = sqlite3.connect(name, timeout=PATIENCE, isolation_level="IMMEDIATE")
    try:
        db.executescript("PRAGMA secure_delete = ON; PRAGMA synchronous = OFF;")  # what is lost is read again
        if _layout(db) != LAYOUT:
            db.execute("BEGIN IMMEDIATE")
            with db:
                _build(db)
    except BaseException:
        db.close()
        raise
    return db


def _layout(db: sqlite3.Connection) -> int:
    return db.execute("PRAGMA user_version").fetchone()[0]


def _build(db: sqlite3.Connection) -> None:
    if _layout(db) == LAYOUT:  # another process was faster
        return
    for name in ("session", "place", "said", "word"):
        db.execute(f"DROP TABLE IF EXISTS {name}")
    for table in _TABLES:
        db.execute(f"CREATE {table}")
    db.execute(f"PRAGMA user_version = {LAYOUT}")
