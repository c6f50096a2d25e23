"""Searches the galleries: complete, current and calibrated, or not at all."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import structlog
from sqlalchemy.orm import Session

from index.calibration import MIN_PERSONS, Calibration
from index.errors import BackendError, GenerationError
from index.pack import Pack
from index.types import Candidate, Vectors
from service.database import Database
from service.errors import GalleryNotReadyError
from service.galleries import repository
from service.galleries.backends import backend_of
from service.galleries.calibrations import Calibrated, Calibrations
from service.galleries.completing import Completing
from service.galleries.keeper import (
    GalleryPlace,
    IncompleteError,
    Keeper,
    gallery_place,
    missed_changes,
    replay,
)
from service.galleries.lock import SharedLock
from service.galleries.repository import Change
from service.persons.enrolment import FLAGGED, REGISTERED
from service.settings import Settings

log = structlog.get_logger(__name__)

NAMES = (FLAGGED, REGISTERED)

RENEW_EVERY_S = 60.0
"""Seconds between looks for generations that another process has written; a look reads a line."""

_ROUNDS = 3
"""Times that changes are read and what they lack is encoded before they are applied: meanwhile more may come
from a process with another pack, but slower than they are encoded."""

_SPOILT = "The gallery '{}' met damaged vectors on the disk; it is made anew from the stored templates."


@dataclass(frozen=True, slots=True)
class GallerySearch:
    """What one gallery answered, and everything that stands behind the answer.

    Attributes:
        gallery: Its name.
        generation: The generation that it was loaded from.
        position: The last change that the search saw.
        persons: Persons enrolled then.
        references: References enrolled then.
        threshold: Persons scoring below were not returned.
        calibration_id: The record that the threshold and the rates come from.
        calibration: That record's content, scaled to the present number of persons.
        candidates: Best first.
    """

    gallery: str
    generation: str
    position: int
    persons: int
    references: int
    threshold: float
    calibration_id: UUID
    calibration: Calibration
    candidates: list[Candidate]


@dataclass(frozen=True, slots=True)
class GalleryState:
    """Whether a gallery can answer, and why not."""

    gallery: str
    ready: bool
    reason: str | None
    generation: str | None
    position: int
    persons: int
    references: int


class Galleries:
    """All galleries of one pack, kept equal to the database.

    Every search first applies what was committed before it began, and no search
    sees one gallery before and another after the same change.
    """

    def __init__(
        self, *, database: Database, settings: Settings, pack: Pack, completing: Completing | None = None
    ) -> None:
        """Prepare; `open` loads.

        Args:
            database: The truth.
            settings: Backend, folders, target false-alarm rate.
            pack: Whose templates are compared.
            completing: Encodes what another process enrolled with another pack; None: nothing does.
        """
        self._completing = completing
        self._database = database
        self._settings = settings
        self._pack = pack
        self._backend = backend_of(settings)
        self._lock = SharedLock()
        self._catching_up = threading.Lock()
        self._keepers: dict[str, Keeper] = {}
        self._calibrations = Calibrations(database=database, settings=settings, pack=pack)

    def open(self) -> None:
        """Load every gallery and its calibration.

        Raises:
            DatabaseUnavailableError: The database is away.
        """
        for name in NAMES:
            with self._database.read() as session:
                keeper = self._backend.open(session, self.place(name))
            with self._lock.exclusive():
                self._keepers[name] = keeper
            log.info(
                "gallery-loaded",
                gallery=name,
                generation=keeper.generation,
                position=keeper.position,
                references=len(keeper.gallery),
                unencoded=len(keeper.unencoded),
            )

    def place(self, name: str) -> GalleryPlace:
        """Return where this gallery's generations lie."""
        return gallery_place(
            self._settings, name, contract_id=self._pack.contract_id, dimension=self._pack.dimension
        )

    def search(
        self, names: Sequence[str], probe: Vectors, *, exclude: frozenset[int], limit: int
    ) -> list[GallerySearch]:
        """Search whole galleries for one probe.

        Args:
            names: Galleries to search, all at the same instant.
            probe: Shape (d,), L2 norm 1.
            exclude: Person keys never to return.
            limit: Longest candidate list per gallery.

        Raises:
            GalleryNotReadyError: One of them is not loaded, incomplete or not calibrated.
            DatabaseUnavailableError: Whether the gallery is current cannot be told.
        """
        self.catch_up()
        calibrated = {name: self._calibrated(name) for name in names}
        row = np.ascontiguousarray(probe, dtype=np.float32).reshape(1, -1)
        with self._lock.shared():
            return [self._search_one(name, row, calibrated[name], exclude, limit) for name in names]

    def catch_up(self) -> None:
        """Apply every change that was committed before this call.

        Raises:
            GalleryNotReadyError: They are not loaded yet, or the server behind them failed.
            DatabaseUnavailableError: The database is away.
        """
        if not self._keepers:
            raise GalleryNotReadyError("The galleries are still being loaded.")
        with self._database.read() as session:
            heads = repository.heads(session)
            if all(self._is_at(name, heads.get(name, 0)) for name in self._keepers):
                return
        try:
            with self._catching_up:
                self._catch_up()
        except BackendError as error:
            raise GalleryNotReadyError(f"The galleries cannot be brought up to date. {error}") from error

    def damaged(self) -> set[int]:
        """Return the references whose template is damaged or was never made by this pack."""
        return set().union(*(keeper.unencoded for keeper in list(self._keepers.values())))

    def states(self) -> list[GalleryState]:
        """Tell of every gallery whether it can answer."""
        return [self._state(name) for name in NAMES]

    def renew(self) -> bool:
        """Go over to the generations that were written since, here or by another process; a worker's turn.

        So what was erased leaves the files that this process still has open, a rebuild and a rollback
        take effect without a restart, and a gallery that was loaded into memory goes to disk.
        """
        for keeper in [keeper for keeper in self._keepers.values() if not keeper.unencoded]:
            try:
                with self._database.read() as session:
                    newer = self._backend.newer(session, keeper)
                if newer is not None:
                    self._go_over_to(newer)
            except (IncompleteError, GenerationError) as error:
                log.warning("generation-not-renewed", gallery=keeper.place.name, reason=str(error))
        return False

    def _go_over_to(self, newer: Keeper) -> None:
        """Put a gallery into the place of the one that answers, after it has caught up with it."""
        with self._catching_up:
            with self._database.read() as session:
                replay(session, newer)
            with self._lock.exclusive():
                self._keepers[newer.place.name] = newer
        log.info("generation-taken-up", gallery=newer.place.name, generation=newer.generation)

    def calibrate(self) -> None:
        """Calibrate the galleries that can be measured, where need be, before a search would wait for it."""
        for keeper in list(self._keepers.values()):
            if not keeper.unencoded and keeper.gallery.person_count >= MIN_PERSONS:
                with suppress(GalleryNotReadyError), _reading(keeper):
                    self._calibrations.current(keeper.place.name, keeper.gallery)

    def _catch_up(self) -> None:
        """Apply what was committed; what other packs' processes enrolled is encoded before it is applied.

        So a complete gallery is never shown incomplete to the searches that go on meanwhile, as long as
        what it lacks is little enough to be encoded here.
        """
        for _ in range(_ROUNDS):
            with self._database.read() as session:
                missed = self._missed(session)
            if any(isinstance(found, Keeper) for found in missed.values()):
                self._apply(missed)  # Made anew: not complete before either, so it is completed in its place.
                missed = {}
            if not self._complete(missed):
                break
        else:
            with self._database.read() as session:
                missed = self._missed(session)
        self._apply(missed)

    def _missed(self, session: Session) -> dict[str, list[Change] | Keeper]:
        """Return what brings each gallery that is behind up to this view of the database."""
        heads = repository.heads(session)
        behind = [k for k in self._keepers.values() if not self._is_at(k.place.name, heads[k.place.name])]
        return {k.place.name: self._changes(session, k, heads[k.place.name]) for k in behind}

    def _apply(self, missed: dict[str, list[Change] | Keeper]) -> None:
        with self._lock.exclusive():
            for name, found in missed.items():
                if isinstance(found, Keeper):
                    self._keepers[name] = found
                else:
                    self._keepers[name].apply(found)

    def _complete(self, missed: dict[str, list[Change] | Keeper]) -> bool:
        """Have the few portraits encoded that a gallery lacks or would lack; tell whether any were."""
        completing = self._completing
        if completing is None:
            return False
        lacking = {name: _lacking(keeper, missed.get(name)) for name, keeper in self._keepers.items()}
        done = [completing.complete(name, unencoded) for name, unencoded in lacking.items() if unencoded]
        return any(done)

    def _changes(self, session: Session, keeper: Keeper, head: int) -> list[Change] | Keeper:
        """Return what a gallery has missed: the changes, or where those do not do, a new one."""
        place = keeper.place
        if keeper.position <= head:
            changes = missed_changes(session, keeper)
            made = {change.reference_id for change in changes}
            if keeper.unencoded - made and self._may_be_complete(session, keeper):
                return self._backend.from_database(session, place)
            if len(changes) == head - keeper.position:
                return changes
            log.warning("change-log-has-a-gap", gallery=place.name, position=keeper.position, head=head)
        return self._backend.from_database(session, place)

    def _may_be_complete(self, session: Session, keeper: Keeper) -> bool:
        """Tell whether what an incomplete gallery lacked may be there now.

        One damaged template is looked at, not all: whether it is sound again decides
        whether reading the whole gallery anew is worth while.
        """
        place = keeper.place
        if repository.any_unencoded(session, place.name, place.contract_id):
            return False
        vector = repository.template(session, min(keeper.unencoded), place.contract_id)
        return vector is None or repository.is_template(vector, place.dimension)

    def _is_at(self, name: str, head: int) -> bool:
        keeper = self._keepers[name]
        return keeper.position == head and not keeper.unencoded

    def _ready(self, name: str) -> Keeper:
        keeper = self._keepers[name]
        if keeper.spoilt:
            raise GalleryNotReadyError(_SPOILT.format(name))
        if keeper.unencoded:
            raise GalleryNotReadyError(
                f"{len(keeper.unencoded)} portraits of the gallery '{name}' were not encoded by the pack in "
                "use; run 'oneperson rebuild'."
            )
        return keeper

    def _calibrated(self, name: str) -> Calibrated:
        keeper = self._ready(name)
        with _reading(keeper):
            return self._calibrations.current(keeper.place.name, keeper.gallery)

    def _search_one(
        self, name: str, row: Vectors, calibrated: Calibrated, exclude: frozenset[int], limit: int
    ) -> GallerySearch:
        keeper = self._ready(name)
        persons = keeper.gallery.person_count
        calibration = calibrated.calibration.scale_to(persons)
        with _reading(keeper):
            found = keeper.gallery.search(
                row, limit=limit, threshold=calibration.threshold, exclude=[exclude]
            )
        return GallerySearch(
            gallery=name,
            generation=keeper.generation,
            position=keeper.position,
            persons=persons,
            references=len(keeper.gallery),
            threshold=calibration.threshold,
            calibration_id=calibrated.id,
            calibration=calibration,
            candidates=found[0],
        )

    def _state(self, name: str) -> GalleryState:
        keeper = self._keepers.get(name)
        if keeper is None:
            return GalleryState(name, False, "not loaded", None, 0, 0, 0)
        reason = f"{len(keeper.unencoded)} portraits not encoded by this pack" if keeper.unencoded else None
        reason = "its generation is damaged on the disk; a fresh one is made" if keeper.spoilt else reason
        try:
            persons, references = keeper.gallery.person_count, len(keeper.gallery)
        except BackendError as error:
            persons, references, reason = 0, 0, str(error)
        return GalleryState(
            gallery=name,
            ready=reason is None,
            reason=reason,
            generation=keeper.generation,
            position=keeper.position,
            persons=persons,
            references=references,
        )


def _lacking(keeper: Keeper, missed: list[Change] | Keeper | None) -> set[int]:
    """Return the references of which a gallery has no template once what it missed is applied."""
    changes = missed if isinstance(missed, list) else []
    latest = {change.reference_id: change for change in changes if change.position > keeper.position}
    unencoded = {one for one, change in latest.items() if change.stored and change.reference is None}
    return unencoded | (keeper.unencoded - latest.keys())


@contextmanager
def _reading(keeper: Keeper) -> Iterator[None]:
    """Read vectors of a gallery, perhaps from the disk.

    Raises:
        GalleryNotReadyError: They are damaged there; the gallery answers no more until it is made anew.
    """
    try:
        yield
    except GenerationError as error:
        name = keeper.place.name
        log.warning("generation-spoilt", gallery=name, generation=keeper.generation, reason=str(error))
        keeper.spoilt = True
        raise GalleryNotReadyError(_SPOILT.format(name)) from error
