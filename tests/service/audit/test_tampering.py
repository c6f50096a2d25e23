"""Whatever is done to the log behind the service's back is found, and named."""

import os
import random
from pathlib import Path

import pytest

from service.audit.findings import Damage, Findings
from tests.service.audit.chains import TAMPERINGS, Expected, Site, make_site, record_some

CHANGES = int(os.environ.get("AUDIT_CHANGES", "200"))
"""A thousand take half a minute; `AUDIT_CHANGES=1000` does them."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Site:
    return make_site(tmp_path_factory.mktemp("chain"), sqlite_template)


def named(findings: Findings, expected: Expected) -> set[int]:
    """The numbers that findings of the expected kinds cover."""
    fitting = [each for each in findings.named if each.damage in expected.damages]
    return {number for each in fitting for number in range(each.first, each.last + 1)}


def test_an_untouched_log_is_intact(site: Site) -> None:
    findings = site.findings()
    assert (findings.intact, findings.records, findings.anchors) == (True, 121, 3)


@pytest.mark.parametrize("hash_name", ["sm3"])
def test_the_national_hash_chains_and_anchors_as_well(
    tmp_path: Path, sqlite_template: Path, hash_name: str
) -> None:
    site = make_site(tmp_path, sqlite_template, hash_name)
    assert site.findings().intact
    assert site.keys.current.tag.startswith("sm3-")
    expected = site.change(TAMPERINGS[5], random.Random(1))
    assert named(site.findings(), expected) >= expected.numbers


def test_every_random_change_is_found_and_the_right_record_named(site: Site, tmp_path: Path) -> None:
    missed = []
    for seed in range(CHANGES):
        tampering = TAMPERINGS[seed % len(TAMPERINGS)]
        copy = site.copy(tmp_path)
        expected = copy.change(tampering, random.Random(seed))
        findings = copy.findings()
        if findings.intact or not named(findings, expected) >= expected.numbers:
            missed.append((tampering.__name__, seed, expected, findings.named))
    assert missed == []


def test_an_older_copy_of_the_whole_database_is_found(tmp_path: Path, sqlite_template: Path) -> None:
    site = make_site(tmp_path, sqlite_template)
    (tmp_path / "old").mkdir()
    old = site.copy(tmp_path / "old")
    with site.opened() as database:
        record_some(database, 30, begin=500)
        site.anchors.append(database)
    assert site.findings().intact
    (finding,) = old.findings().named
    assert (finding.damage, finding.first, finding.last) == (Damage.TRUNCATED, 122, 151)


def test_what_is_written_anew_with_the_key_contradicts_the_anchors(
    tmp_path: Path, sqlite_template: Path
) -> None:
    site = make_site(tmp_path, sqlite_template)
    site.change(lambda connection, _: _wipe(connection), random.Random(0))
    with site.opened() as database:
        record_some(database, 150)
    damages = {each.damage for each in site.findings().named}
    assert Damage.REWRITTEN in damages or Damage.ANCHOR in damages


def test_a_changed_or_missing_line_of_the_anchors_is_found(tmp_path: Path, sqlite_template: Path) -> None:
    site = make_site(tmp_path, sqlite_template)
    lines = site.anchors.path.read_bytes().splitlines(keepends=True)
    site.anchors.path.write_bytes(b"".join([lines[0], lines[2]]))
    assert [each.damage for each in site.findings().named] == [Damage.ANCHOR]
    site.anchors.path.write_bytes(b"".join([lines[0].replace(b'"sequence":4', b'"sequence":3'), *lines[1:]]))
    assert (Damage.ANCHOR, 1) in [(each.damage, each.first) for each in site.findings().named]
    site.anchors.path.unlink()
    assert [each.damage for each in site.findings().named] == [Damage.ANCHORS_MISSING]


def _wipe(connection: object) -> Expected:
    from sqlalchemy import Connection, text

    assert isinstance(connection, Connection)
    connection.execute(text("DELETE FROM audit_events"))
    connection.execute(text("UPDATE audit_heads SET sequence = 0, mac = chain_id"))
    return Expected(set(), set())
