"""A chain of events in a SQLite file, and ways to tamper with it."""

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from service.audit.anchors import AnchorFile
from service.audit.chain import AuditChain, seal_with
from service.audit.findings import Damage, Findings
from service.audit.keys import KeyRing
from service.audit.records import TEXTS
from service.audit.service import AuditKind, record
from service.audit.verification import verify
from service.auth.service import Actor, Role
from service.database import Database

OFFICER = Actor(kind="officer", id=None, name="zhang", role=Role.OFFICER, division_code="530100")
EVENTS = 120
COLUMNS = ", ".join(TEXTS)
SECRETS = (b"a" * 32, b"b" * 32)


@dataclass(frozen=True)
class Site:
    """A database file with a chain, its keys and its anchors."""

    path: Path
    keys: KeyRing
    anchors: AnchorFile

    @contextmanager
    def opened(self) -> Iterator[Database]:
        database = Database(f"sqlite:///{self.path}")
        seal_with(database, AuditChain(self.keys))
        try:
            yield database
        finally:
            database.close()

    def findings(self) -> Findings:
        with self.opened() as database:
            return verify(database, self.keys, self.anchors)

    def copy(self, folder: Path) -> "Site":
        shutil.copy(self.path, folder / "copy.db")
        return Site(folder / "copy.db", self.keys, self.anchors)

    def change(self, work: "Tampering", chance: random.Random) -> "Expected":
        database = Database(f"sqlite:///{self.path}")
        with database.engine.begin() as connection:
            expected = work(connection, chance)
        database.close()
        return expected


@dataclass(frozen=True)
class Expected:
    """What must be named: kinds that fit, and the numbers."""

    damages: set[Damage]
    numbers: set[int]


Tampering = Callable[[Connection, random.Random], Expected]


def record_some(database: Database, count: int, *, begin: int = 0) -> None:
    """Record events of several shapes, a few in each transaction."""
    for first in range(begin, begin + count, 10):
        with database.write() as session:
            for number in range(first, min(first + 10, begin + count)):
                record(
                    session,
                    AuditKind.CASE_VIEWED if number % 3 else AuditKind.PERSON_READ,
                    actor=OFFICER,
                    subject=f"case:{number}",
                    purpose="transaction:甲-1" if number % 2 else None,
                    count=number,
                    share=number / 7,
                    names=["x", None],
                )


def make_site(folder: Path, template: Path, hash_name: str = "sha256") -> Site:
    """Make a chain with anchors at a third, two thirds and the end."""
    shutil.copy(template, folder / "oneperson.db")
    keys = KeyRing(SECRETS[:1], hash_name)
    site = Site(folder / "oneperson.db", keys, AnchorFile(folder / "anchors.jsonl", keys))
    with site.opened() as database:
        for part in range(3):
            record_some(database, EVENTS // 3, begin=part * EVENTS // 3)
            site.anchors.append(database)
    return site


def _last(connection: Connection) -> int:
    return int(connection.execute(text("SELECT max(id) FROM audit_events")).scalar_one())


def _any(connection: Connection, chance: random.Random) -> int:
    return chance.randint(1, _last(connection))


def _run(connection: Connection, statement: str, **values: object) -> None:
    connection.execute(text(statement), values)


def _set_back(connection: Connection, last: int) -> None:
    _run(
        connection,
        "UPDATE audit_heads SET sequence = :last, mac = (SELECT mac FROM audit_events WHERE id = :last)",
        last=last,
    )


def remove(connection: Connection, chance: random.Random) -> Expected:
    number = _any(connection, chance)
    _run(connection, "DELETE FROM audit_events WHERE id = :number", number=number)
    return Expected({Damage.REMOVED, Damage.TRUNCATED}, {number})


def swap(connection: Connection, chance: random.Random) -> Expected:
    one, other = chance.sample(range(1, _last(connection) + 1), 2)
    for before, after in ((one, -1), (other, one), (-1, other)):
        _run(connection, "UPDATE audit_events SET id = :a WHERE id = :b", a=after, b=before)
    return Expected({Damage.REORDERED}, {one, other})


def duplicate(connection: Connection, chance: random.Random) -> Expected:
    number, place = _any(connection, chance), chance.choice([_last(connection) + 1, 0, -3, 10**6])
    _run(
        connection,
        f"INSERT INTO audit_events (id, {COLUMNS}) SELECT :a, {COLUMNS} FROM audit_events WHERE id = :b",
        a=place,
        b=number,
    )
    return Expected({Damage.DUPLICATED}, {place})


def insert(connection: Connection, chance: random.Random) -> Expected:
    """Add an invented event at the end, with or without codes, and sometimes the end of the chain with it."""
    place = _last(connection) + 1
    mac = chance.choice([None, "00" * 32])
    _run(
        connection,
        "INSERT INTO audit_events "
        "(id, at, kind, actor_kind, actor, result, details, mac, key_tag, previous_mac) "
        "SELECT :id, at, 'case-viewed', 'officer', 'li', 'done', '{}', :mac, key_tag, mac "
        "FROM audit_events WHERE id = :last",
        id=place,
        mac=mac,
        last=place - 1,
    )
    if chance.random() < 0.5:
        _set_back(connection, place)
    return Expected({Damage.INSERTED, Damage.CHANGED}, {place})


def truncate(connection: Connection, chance: random.Random) -> Expected:
    """Cut off the newest events; mostly with the end of the chain set back with them."""
    last = _last(connection)
    keep = chance.randint(1, last - 1)
    _run(connection, "DELETE FROM audit_events WHERE id > :keep", keep=keep)
    if chance.random() < 0.8:
        _set_back(connection, keep)
    return Expected({Damage.TRUNCATED}, set(range(keep + 1, last + 1)))


def change_field(connection: Connection, chance: random.Random) -> Expected:
    """Flip one bit of one stored field."""
    number = _any(connection, chance)
    name = chance.choice([name for name in TEXTS if name != "mac"])
    _flip(connection, chance, number, name)
    return Expected({Damage.CHANGED, Damage.UNKNOWN_KEY}, {number})


def change_code(connection: Connection, chance: random.Random) -> Expected:
    number = _any(connection, chance)
    _flip(connection, chance, number, "mac")
    return Expected({Damage.CHANGED}, {number})


def empty_field(connection: Connection, chance: random.Random) -> Expected:
    number = _any(connection, chance)
    name = chance.choice(["role", "division_code", "subject", "mac", "key_tag", "previous_mac"])
    held = f"SELECT {name} FROM audit_events WHERE id = :number"
    if connection.execute(text(held), {"number": number}).scalar_one() is None:
        number, name = 10, "mac"
    _run(connection, f"UPDATE audit_events SET {name} = NULL WHERE id = :number", number=number)
    return Expected({Damage.CHANGED, Damage.INSERTED}, {number})


def exchange_contents(connection: Connection, chance: random.Random) -> Expected:
    """Give one event what another says, and leave its codes."""
    one, other = chance.sample(range(3, _last(connection) + 1), 2)
    _run(
        connection,
        "UPDATE audit_events SET (at, subject, details) = "
        "(SELECT at, subject, details FROM audit_events WHERE id = :other) WHERE id = :one",
        one=one,
        other=other,
    )
    return Expected({Damage.CHANGED}, {one})


def _flip(connection: Connection, chance: random.Random, number: int, name: str) -> None:
    query = f"SELECT CAST({name} AS BLOB) FROM audit_events WHERE id = :number"
    held = bytearray(connection.execute(text(query), {"number": number}).scalar_one() or b"x")
    held[chance.randrange(len(held))] ^= 1 << chance.randrange(8)
    statement = f"UPDATE audit_events SET {name} = CAST(:held AS TEXT) WHERE id = :number"
    _run(connection, statement, held=bytes(held), number=number)


TAMPERINGS: tuple[Tampering, ...] = (
    remove,
    swap,
    duplicate,
    insert,
    truncate,
    change_field,
    change_field,
    change_code,
    empty_field,
    exchange_contents,
)
