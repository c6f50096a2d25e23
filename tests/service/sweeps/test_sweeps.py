"""Sweeps over whole galleries: every suspected pair once, in a case or on the list."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, select, update

from index.compact import StoredReferences
from index.linking import Linker, Links
from index.pack import Pack, load_pack
from index.rows import Rows
from index.types import Vectors
from service.database import Database
from service.galleries.keeper import IncompleteError, gallery_place, write_from_database
from service.settings import Settings
from service.sweeps.pairs import Comparison, all_steps, done_blocks, find_pairs, forget, frozen_dirs, plan
from service.sweeps.service import FoundPair, Opened, describe, open_cases
from service.tables import AuditEvent, Case, Person, Template
from tests.service.galleries.filling import fill, unit_vectors


@pytest.fixture(scope="module")
def pack(synthetic_pack_dir: Path) -> Pack:
    return load_pack(synthetic_pack_dir)


def close_to(vectors: Vectors, seed: int) -> Vectors:
    noisy = vectors + unit_vectors(len(vectors), vectors.shape[1], seed) * 0.3
    closer: Vectors = (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)
    return closer


def sweep(
    database: Database, settings: Settings, pack: Pack, threshold: float | None = 0.8
) -> tuple[list[FoundPair], Opened]:
    comparisons = plan(database, settings, pack, threshold=threshold)
    found: list[FoundPair] = []
    for comparison in comparisons:
        links = find_pairs(
            comparison, settings.data_dir / "sweeps", contract_id=pack.contract_id, advance=lambda: None
        )
        with database.read() as session:
            found += describe(session, comparison, links)
    return found, open_cases(database, found)


def place_all(database: Database, division_code: str | None = "530102") -> None:
    with database.write() as session:
        session.execute(update(Person).values(division_code=division_code))


def test_duplicates_within_the_gallery_become_cases_with_the_older_registration_as_subject(
    database: Database, settings: Settings, pack: Pack
) -> None:
    vectors = unit_vectors(40, pack.dimension)
    fill(database, vectors, contract_id=pack.contract_id, prefix="A")
    fill(database, close_to(vectors[:3], 1), contract_id=pack.contract_id, prefix="B")
    place_all(database)
    found, opened = sweep(database, settings, pack)
    assert {(pair.subject, pair.candidate) for pair in found} == {("A0", "B0"), ("A1", "B1"), ("A2", "B2")}
    assert all(0 < pair.new.false_alarm_rate <= 1 for pair in found)
    with database.read() as session:
        cases = {case.subject_person_id: case for case in session.scalars(select(Case))}
        assert {case.kind for case in cases.values()} == {"sweep"}
        assert [candidate.person_id for candidate in cases["A1"].candidates] == ["B1"]
        assert cases["A1"].check_id is None
        assert cases["A1"].division_code == "530102"
        kinds = session.scalars(select(AuditEvent.kind)).all()
    assert "gallery-linked" in kinds
    assert len(opened.cases) == 3


def test_second_sweep_opens_only_what_is_new(database: Database, settings: Settings, pack: Pack) -> None:
    vectors = unit_vectors(10, pack.dimension)
    fill(database, vectors, contract_id=pack.contract_id, prefix="A")
    fill(database, close_to(vectors[:1], 1), contract_id=pack.contract_id, prefix="B")
    place_all(database)
    sweep(database, settings, pack)
    fill(database, close_to(vectors[:2], 2), contract_id=pack.contract_id, prefix="C")
    place_all(database)
    found, opened = sweep(database, settings, pack)
    assert ("A0", "B0") in opened.known
    assert {("A0", "C0"), ("A1", "C1")} <= opened.cases.keys()
    again, none = sweep(database, settings, pack)
    assert len(again) == len(found)
    assert none.cases == {}


def test_flagged_persons_are_compared_with_registered_ones(
    database: Database, settings: Settings, pack: Pack
) -> None:
    vectors = unit_vectors(12, pack.dimension)
    fill(database, vectors[:6], contract_id=pack.contract_id, prefix="F")
    fill(database, close_to(vectors[:2], 1), contract_id=pack.contract_id, prefix="R", gallery="registered")
    place_all(database)
    both = settings.model_copy(update={"enrol_registered": True})
    found, _opened = sweep(database, both, pack)
    assert {(pair.subject, pair.candidate, pair.new.gallery) for pair in found} == {
        ("F0", "R0", "registered"),
        ("F1", "R1", "registered"),
    }
    only_flagged, _none = sweep(database, settings, pack)
    assert only_flagged == []


def test_pair_without_a_division_is_listed_but_opens_no_case(
    database: Database, settings: Settings, pack: Pack
) -> None:
    vectors = unit_vectors(5, pack.dimension)
    fill(database, vectors, contract_id=pack.contract_id, prefix="A")
    fill(database, close_to(vectors[:1], 1), contract_id=pack.contract_id, prefix="B")
    _found, opened = sweep(database, settings, pack)
    assert opened.without_division == {("A0", "B0")}
    with database.read() as session:
        assert session.scalars(select(Case)).all() == []


def test_person_erased_during_the_sweep_is_left_out(
    database: Database, settings: Settings, pack: Pack
) -> None:
    vectors = unit_vectors(5, pack.dimension)
    fill(database, vectors, contract_id=pack.contract_id, prefix="A")
    fill(database, close_to(vectors[:1], 1), contract_id=pack.contract_id, prefix="B")
    comparison = plan(database, settings, pack, threshold=0.8)[0]
    links = find_pairs(
        comparison, settings.data_dir / "s", contract_id=pack.contract_id, advance=lambda: None
    )
    with database.write() as session:
        session.execute(delete(Person).where(Person.person_id == "B0"))
    with database.read() as session:
        assert describe(session, comparison, links) == []


def test_interrupted_sweep_goes_on_and_a_changed_gallery_starts_anew(
    database: Database, settings: Settings, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.linking.ROWS", 8)
    fill(database, unit_vectors(30, pack.dimension), contract_id=pack.contract_id, prefix="A")
    folder = settings.data_dir / "sweeps"

    class StoppedError(Exception):
        pass

    def stop_after(steps: int) -> None:
        seen = 0

        def advance() -> None:
            nonlocal seen
            seen += 1
            if seen == steps:
                raise StoppedError

        with pytest.raises(StoppedError):
            find_pairs(begun, folder, contract_id=pack.contract_id, advance=advance)

    begun = plan(database, settings, pack, threshold=0.3)[0]
    assert all_steps([begun]) == 4
    stop_after(2)
    assert done_blocks(begun, folder, contract_id=pack.contract_id) == 2
    computed: list[int] = []

    compare = Linker.block

    def counting(linker: Linker, block: int) -> Links:
        computed.append(block)
        return compare(linker, block)

    monkeypatch.setattr(Linker, "block", counting)
    resumed = find_pairs(begun, folder, contract_id=pack.contract_id, advance=lambda: None)
    assert computed == [2, 3]
    fill(database, unit_vectors(1, pack.dimension, seed=9), contract_id=pack.contract_id, prefix="B")
    anew = plan(database, settings, pack, threshold=0.3)[0]
    assert done_blocks(anew, folder, contract_id=pack.contract_id) == 0
    forget(folder)
    fresh = find_pairs(begun, folder, contract_id=pack.contract_id, advance=lambda: None)
    assert np.array_equal(fresh.scores, resumed.scores)


def test_copies_of_large_galleries_leave_nothing_on_disk_and_current_generations_are_used(
    database: Database, settings: Settings, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Galleries count as large from 20 references here."""
    monkeypatch.setattr("index.segments.COMPRESS_FROM", 20)
    fill(database, unit_vectors(30, pack.dimension), contract_id=pack.contract_id, prefix="A")
    copied = plan(database, settings, pack, threshold=0.3)[0]
    assert isinstance(copied.left.enrolled, StoredReferences)
    assert frozen_dirs(settings) == []
    place = gallery_place(settings, "flagged", contract_id=pack.contract_id, dimension=pack.dimension)
    with database.read() as session:
        write_from_database(session, place, backend="faiss", keep=1, switch=True)
    with monkeypatch.context() as patched:
        patched.setattr("service.galleries.keeper.write_from_database", None)
        current = plan(database, settings, pack, threshold=0.3)[0]
    assert current.left.position == copied.left.position
    wanted = Rows.of(copied.left.enrolled).block(0, 30)
    np.testing.assert_array_equal(Rows.of(current.left.enrolled).block(0, 30), wanted)
    fill(database, unit_vectors(1, pack.dimension, seed=9), contract_id=pack.contract_id, prefix="B")
    assert len(plan(database, settings, pack, threshold=0.3)[0].left.enrolled) == 31
    assert frozen_dirs(settings) == []


def test_incomplete_gallery_is_not_swept(database: Database, settings: Settings, pack: Pack) -> None:
    fill(database, unit_vectors(5, pack.dimension), contract_id=pack.contract_id)
    with database.write() as session:
        session.execute(delete(Template).where(Template.reference_id == 1))
    with pytest.raises(IncompleteError):
        plan(database, settings, pack, threshold=0.5)


def test_threshold_of_the_calibration_is_the_default(
    database: Database, settings: Settings, pack: Pack
) -> None:
    fill(database, unit_vectors(210, pack.dimension), contract_id=pack.contract_id)
    comparison: Comparison = plan(database, settings, pack, threshold=None)[0]
    assert comparison.threshold == comparison.right.calibration.threshold
    assert comparison.right.calibration.method == "measured"


def test_empty_gallery_has_nothing_to_compare(database: Database, settings: Settings, pack: Pack) -> None:
    assert plan(database, settings, pack, threshold=0.5) == []
