"""Keeps each gallery's calibration dated, stored and in step with its size."""

import threading
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import structlog

from index.calibration import DEFAULT_SAMPLE, MIN_PERSONS, Calibration, calibrate, from_pack_table
from index.errors import CalibrationError
from index.pack import Pack
from index.rows import Rows
from service.audit.service import AuditKind, record
from service.auth.service import SYSTEM
from service.database import Database
from service.errors import GalleryNotReadyError
from service.galleries import repository
from service.settings import Settings
from service.tables import CalibrationRecord, now

log = structlog.get_logger(__name__)

GROWTH = 0.10
"""A gallery whose number of persons has changed by this share is calibrated again (design, "Thresholds")."""

INLINE_PAIRS = 200_000_000
"""Comparisons that a search may wait for, about half a second; a larger calibration runs beside it."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration and the stored record that it is."""

    id: UUID
    calibration: Calibration


class Population(Protocol):
    """What is enrolled in a gallery: the gallery itself, or a view of it."""

    @property
    def person_count(self) -> int:
        """Number of distinct persons."""

    def __len__(self) -> int:
        """Return the number of references."""

    def rows(self) -> Rows:
        """View everything enrolled now."""


class Calibrations:
    """Hands out the calibration in force, and renews it when the gallery has outgrown it."""

    def __init__(self, *, database: Database, settings: Settings, pack: Pack) -> None:
        """Keep the collaborators."""
        self._database = database
        self._settings = settings
        self._pack = pack
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._current: dict[str, Calibrated] = {}

    def current(self, name: str, population: Population) -> Calibrated:
        """Return the calibration in force, making one first where there is none that fits.

        A large gallery is calibrated beside the searches; until that is done the
        older record goes on, its rates restated for the present size.

        Args:
            name: Of the gallery.
            population: What is enrolled in it.

        Raises:
            GalleryNotReadyError: There is nothing to calibrate on.
        """
        persons = population.person_count
        known = self._current.get(name)
        if known is not None and self._fits(known.calibration, persons):
            return known
        with self._lock:
            known = self._current.get(name) or self._stored(name)
            if known is not None and self._fits(known.calibration, persons):
                self._current[name] = known
                return known
            if known is not None and _pairs(persons, len(population)) > INLINE_PAIRS:
                self._current[name] = known
                self._renew_beside(name, population)
                return known
            return self._renew(name, population)

    def renew(self, name: str, population: Population) -> Calibrated:
        """Calibrate now, whatever there is.

        Raises:
            GalleryNotReadyError: There is nothing to calibrate on.
        """
        with self._lock:
            return self._renew(name, population)

    def _fits(self, calibration: Calibration, persons: int) -> bool:
        if calibration.target_fpir != self._settings.target_fpir:
            return False
        if calibration.method == "pack" and persons >= MIN_PERSONS:
            return False
        return abs(persons - calibration.persons) <= GROWTH * calibration.persons

    def _stored(self, name: str) -> Calibrated | None:
        with self._database.read() as session:
            row = repository.latest_calibration(session, name, self._pack.contract_id)
        return None if row is None else Calibrated(row.id, Calibration.from_document(row.document))

    def _renew_beside(self, name: str, population: Population) -> None:
        if name in self._running:
            return
        self._running.add(name)

        def work() -> None:
            try:
                self._renew(name, population)
            except Exception:
                log.exception("calibration-failed", gallery=name)
            finally:
                self._running.discard(name)

        threading.Thread(target=work, name=f"calibrate-{name}", daemon=True).start()

    def _renew(self, name: str, population: Population) -> Calibrated:
        calibration = self.measure(name, population)
        row = CalibrationRecord(
            gallery=calibration.gallery,
            contract_id=calibration.contract_id,
            created_at=calibration.created_at,
            method=calibration.method,
            persons=calibration.persons,
            target_fpir=calibration.target_fpir,
            threshold=calibration.threshold,
            document=calibration.as_document(),
        )
        with self._database.write() as session:
            session.add(row)
            session.flush()
            record(
                session,
                AuditKind.GALLERY_CALIBRATED,
                actor=SYSTEM,
                subject=f"gallery:{calibration.gallery}",
                method=calibration.method,
                persons=calibration.persons,
                threshold=calibration.threshold,
            )
        renewed = Calibrated(row.id, calibration)
        self._current[calibration.gallery] = renewed
        log.info(
            "gallery-calibrated",
            gallery=calibration.gallery,
            method=calibration.method,
            persons=calibration.persons,
            threshold=round(calibration.threshold, 4),
        )
        return renewed

    def measure(self, name: str, population: Population) -> Calibration:
        """Calibrate now without storing anything.

        Raises:
            GalleryNotReadyError: There is nothing to calibrate on.
        """
        persons = population.person_count
        try:
            if persons >= MIN_PERSONS:
                return calibrate(
                    population.rows(),
                    target_fpir=self._settings.target_fpir,
                    gallery=name,
                    contract_id=self._pack.contract_id,
                    created_at=now(),
                )
            return from_pack_table(
                self._pack.manifest.calibration,
                persons=persons,
                target_fpir=self._settings.target_fpir,
                gallery=name,
                contract_id=self._pack.contract_id,
                created_at=now(),
                references=len(population),
            )
        except CalibrationError as error:
            raise GalleryNotReadyError(
                f"The gallery '{name}' has no calibration: it holds {persons} persons, fewer than "
                f"{MIN_PERSONS}, and the pack's table cannot be used ({error})."
            ) from error


def _pairs(persons: int, references: int) -> int:
    return min(persons, DEFAULT_SAMPLE) * references
