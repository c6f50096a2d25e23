"""Finds all pairs of a sweep, block by block, so that an interruption costs one block."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from index.calibration import Calibration
from index.compact import Enrolled
from index.linking import Linker, Links, blocks, merge
from index.pack import Pack
from index.rows import Rows
from service.database import Database
from service.galleries.calibrations import Calibrations
from service.galleries.keeper import freeze, gallery_place
from service.persons.enrolment import FLAGGED, REGISTERED
from service.settings import Settings

COLUMNS = ("left", "right", "left_references", "right_references", "scores")


@dataclass(frozen=True, slots=True)
class Side:
    """One gallery as it stood when the sweep began.

    Attributes:
        name: `flagged` or `registered`.
        position: Last change contained.
        enrolled: Everything enrolled.
        calibration: The record in force, for thresholds and rates.
    """

    name: str
    position: int
    enrolled: Enrolled
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Comparison:
    """One gallery with itself, or the flagged one with the registered one.

    Attributes:
        left: Whose persons become the subjects.
        right: Where their candidates are enrolled; the same gallery when it is compared with itself.
        threshold: Pairs scoring below are not found.
    """

    left: Side
    right: Side
    threshold: float

    @property
    def steps(self) -> int:
        """Number of blocks."""
        return blocks(self.left.enrolled)


_FROZEN = "frozen-"


def sweeps_dir(settings: Settings) -> Path:
    """Return where unfinished sweeps lie."""
    return settings.data_dir / "sweeps"


def frozen_dirs(settings: Settings) -> list[Path]:
    """Return the folders in which sweeps have copies of galleries for a moment."""
    return list(sweeps_dir(settings).glob(f"{_FROZEN}*"))


def plan(database: Database, settings: Settings, pack: Pack, *, threshold: float | None) -> list[Comparison]:
    """Open the galleries as they are now and say what is compared with what.

    Args:
        database: The truth.
        settings: Whether other persons than flagged ones are enrolled.
        pack: Whose templates are compared.
        threshold: None takes each searched gallery's calibrated threshold.

    Raises:
        IncompleteError: Portraits lack a template of this pack: a sweep would miss them.
        GalleryNotReadyError: There is no threshold to use.
    """
    calibrations = Calibrations(database=database, settings=settings, pack=pack)
    names = (FLAGGED, REGISTERED) if settings.enrol_registered else (FLAGGED,)
    sides = [_side(database, settings, pack, name, calibrations) for name in names]
    return [
        Comparison(sides[0], side, side.calibration.threshold if threshold is None else threshold)
        for side in sides
        if len(sides[0].enrolled) and len(side.enrolled)
    ]


def find_pairs(
    comparison: Comparison, folder: Path, *, contract_id: str, advance: Callable[[], None]
) -> Links:
    """Compare block by block, keeping what is found on disk until `forget` is called.

    Args:
        comparison: What is compared.
        folder: Where unfinished sweeps lie; one of the same galleries and threshold is resumed.
        contract_id: Of the pack.
        advance: Told after every block.
    """
    kept = _folder_of(comparison, folder, contract_id)
    kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    right = None if comparison.right is comparison.left else comparison.right.enrolled
    with closing(Linker(comparison.left.enrolled, right, threshold=comparison.threshold)) as linker:
        for block in range(comparison.steps):
            part = kept / f"block-{block:06d}.npz"
            if not part.exists():
                _save(part, linker.block(block))
            advance()
    return merge(_load(part) for part in sorted(kept.glob("block-*.npz")))


def done_blocks(comparison: Comparison, folder: Path, *, contract_id: str) -> int:
    """Return how many blocks an interrupted sweep has left behind."""
    return len(list(_folder_of(comparison, folder, contract_id).glob("block-*.npz")))


def forget(folder: Path) -> None:
    """Remove what finished and outdated sweeps have left."""
    shutil.rmtree(folder, ignore_errors=True)


def _side(database: Database, settings: Settings, pack: Pack, name: str, calibrations: Calibrations) -> Side:
    place = gallery_place(settings, name, contract_id=pack.contract_id, dimension=pack.dimension)
    with database.read() as session:
        frozen = freeze(session, place, aside=sweeps_dir(settings) / f"{_FROZEN}{name}")
    return Side(
        name=name,
        position=frozen.position,
        enrolled=frozen.enrolled,
        calibration=calibrations.current(name, Rows.of(frozen.enrolled)).calibration,
    )


def _folder_of(comparison: Comparison, folder: Path, contract_id: str) -> Path:
    """A sweep goes on only where nothing that it compares has changed."""
    marks = [
        contract_id,
        comparison.left.name,
        comparison.left.position,
        comparison.right.name,
        comparison.right.position,
        comparison.threshold,
    ]
    return folder / hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:32]


def _save(path: Path, links: Links) -> None:
    aside = path.with_suffix(".new")
    with aside.open("wb") as file:
        np.savez(file, **{name: getattr(links, name) for name in COLUMNS})
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _load(path: Path) -> Links:
    with np.load(path) as stored:
        return Links(*(stored[name] for name in COLUMNS))


def all_steps(comparisons: list[Comparison]) -> int:
    """Return the number of blocks of a whole sweep."""
    return sum(comparison.steps for comparison in comparisons)
