"""Rules of checks: one transaction, one search, one instruction, once."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.checks import answers, repository
from service.checks.schemas import CheckAnswer, CheckRequest
from service.checks.search import Probe, ProbeSearch, Searched
from service.database import Database
from service.errors import NotFoundError, TransactionConflictError
from service.galleries.service import GallerySearch
from service.persons import repository as persons_repository
from service.portrait_store import PortraitStore, owner_of_check, owner_of_person
from service.register.flags import region_of
from service.register.repository import division_of
from service.review.opinion import CaseKind
from service.review.service import NewCandidate, NewCase, open_case, withdraw_case
from service.settings import Settings
from service.tables import Case, Check, CheckSearch


@dataclass(frozen=True, slots=True)
class Made:
    """A check and whether this very request made it."""

    answer: CheckAnswer
    created: bool


def fingerprint(request: CheckRequest, portrait: bytes | None) -> str:
    """Return what makes two requests the same: every field, and the picture's bytes, not their base64."""
    content = {
        "transaction": request.transaction.model_dump(),
        "person_id": request.person_id,
        "portrait": None if portrait is None else hashlib.sha256(portrait).hexdigest(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Checks:
    """Makes, reads and withdraws checks."""

    def __init__(
        self, *, database: Database, search: ProbeSearch, store: PortraitStore, settings: Settings, pack: str
    ) -> None:
        """Keep the collaborators.

        Args:
            database: The truth.
            search: Encodes and searches.
            store: Keeps the probe of a check that officers must review.
            settings: Candidate limit and public address.
            pack: Name and version of the model pack, for the record.
        """
        self._database = database
        self._search = search
        self._store = store
        self._settings = settings
        self._pack = pack

    def make(self, request: CheckRequest, portrait: bytes | None, *, actor: Actor) -> Made:
        """Check a transaction, or give the answer that it got before.

        `proceed` is only answered after every gallery that policy names was searched
        whole, and after the check was committed.

        Raises:
            TransactionConflictError: The transaction was checked with a different request.
            ServiceError: What `ProbeSearch.run` raises; nothing was stored then.
        """
        mark = fingerprint(request, portrait)
        known = self._known(request.transaction.id, mark)
        if known is not None:
            return Made(known, created=False)
        self._search.require_allowed(request.transaction.type)
        searched = self._search.run(request, portrait)
        probe_location = self._keep_probe(request, searched)
        committing = False
        try:
            with self._database.write() as session:
                check = self._check_row(request, searched, mark=mark, client=actor.name)
                case = self._record(session, check, searched, probe_location=probe_location, actor=actor)
                answer = answers.answer_with(check, case, _calibrations(searched.searches), self._settings)
                committing = True
        except IntegrityError:
            # Another request with this transaction id was committed meanwhile.
            self._drop(probe_location)
            known = self._known(request.transaction.id, mark)
            if known is None:
                raise
            return Made(known, created=False)
        except BaseException:
            # A commit whose answer was lost may have been done: better a file without a row than the reverse.
            if not committing:
                self._drop(probe_location)
            raise
        if answer.case_id is None:
            self._drop(probe_location)
        return Made(answer, created=True)

    def read(self, session: Session, check_id: UUID, *, actor: Actor) -> CheckAnswer:
        """Read a check with its status now, on record.

        Raises:
            NotFoundError: There is none.
        """
        return self._read(session, repository.by_id(session, check_id), actor)

    def read_by_transaction(self, session: Session, transaction_id: str, *, actor: Actor) -> CheckAnswer:
        """Read the check of a transaction with its status now, on record.

        Raises:
            NotFoundError: There is none.
        """
        return self._read(session, repository.by_transaction(session, transaction_id), actor)

    def withdraw(self, session: Session, check_id: UUID, *, reason: str | None, actor: Actor) -> CheckAnswer:
        """Note that the transaction was withdrawn; once more is no error.

        Raises:
            NotFoundError: There is no such check.
            CheckSettledError: Officers have decided it.
        """
        check = repository.by_id(session, check_id)
        if check is None:
            raise NotFoundError("There is no such check.")
        case = repository.case_of(session, check_id)
        if case is not None:
            withdraw_case(session, case.id, actor=actor)
        if repository.withdraw_if_open(session, check_id):
            session.refresh(check)
            record(
                session,
                AuditKind.CHECK_WITHDRAWN,
                actor=actor,
                subject=f"check:{check_id}",
                purpose=f"transaction:{check.transaction_id}",
                reason_given=reason is not None,
            )
        return answers.answer(session, check, self._settings)

    def _read(self, session: Session, check: Check | None, actor: Actor) -> CheckAnswer:
        if check is None:
            raise NotFoundError("There is no such check.")
        record(
            session,
            AuditKind.CHECK_READ,
            actor=actor,
            subject=f"check:{check.id}",
            purpose=f"transaction:{check.transaction_id}",
        )
        return answers.answer(session, check, self._settings)

    def _known(self, transaction_id: str, mark: str) -> CheckAnswer | None:
        with self._database.read() as session:
            check = repository.by_transaction(session, transaction_id)
            if check is None:
                return None
            if check.fingerprint != mark:
                raise TransactionConflictError(
                    "This transaction id was used for a different request; use a new id, or read its check.",
                    check_id=str(check.id),
                )
            return answers.answer(session, check, self._settings)

    def _keep_probe(self, request: CheckRequest, searched: Searched) -> str | None:
        """Store the probe when officers will have to look at it; otherwise it is not kept at all."""
        probe = searched.probe
        if probe is None or not any(search.candidates for search in searched.searches):
            return None
        owner = owner_of_check(request.transaction.id)
        if probe.data is not None and probe.extraction is not None:
            return self._store.put(probe.data, owner=owner)
        if probe.portrait is None or request.person_id is None:
            raise AssertionError("unreachable: a probe comes from a request or from an enrolled portrait")
        enrolled = self._store.get(probe.portrait.location, owner=owner_of_person(request.person_id))
        return self._store.put(enrolled, owner=owner)

    def _drop(self, location: str | None) -> None:
        if location is not None:
            self._store.delete(location)

    def _check_row(self, request: CheckRequest, searched: Searched, *, mark: str, client: str) -> Check:
        probe = searched.probe
        return Check(
            id=uuid4(),
            transaction_id=request.transaction.id,
            transaction_type=request.transaction.type,
            authority=request.transaction.authority,
            fingerprint=mark,
            person_id=request.person_id,
            reasons=searched.reasons,
            quality=None if probe is None else probe.quality,
            pack=self._pack,
            contract_id=self._search.contract_id,
            timings_ms=searched.timings_ms,
            client=client,
            searches=[_search_row(search) for search in searched.searches],
        )

    def _record(
        self, session: Session, check: Check, searched: Searched, *, probe_location: str | None, actor: Actor
    ) -> Case | None:
        """Decide the outcome by what was found; store check, case and audit event, and return the case."""
        candidates = _candidates(session, searched.searches, limit=self._settings.candidate_limit)
        check.outcome = _outcome(searched, candidates)
        check.instruction = "proceed" if check.outcome == "no_candidates" else "hold"
        if candidates and searched.probe is not None:
            check.probe_location = probe_location
            check.probe_format = _probe_format(searched.probe)
            check.probe_landmarks = _probe_landmarks(searched.probe)
        division_code = division_of(session, check.person_id)
        if division_code is not None:
            check.region = region_of(division_code)
        session.add(check)
        session.flush()
        case = None
        if check.outcome != "no_candidates":
            new = NewCase(
                division_code=check.authority,
                kind=CaseKind.TRANSACTION if candidates else CaseKind.NOT_SEARCHABLE,
                check_id=check.id,
                subject_person_id=check.person_id,
                candidates=candidates,
            )
            case = open_case(session, new, actor=actor)
        record(
            session,
            AuditKind.CHECK_MADE,
            actor=actor,
            subject=f"check:{check.id}",
            purpose=f"transaction:{check.transaction_id}",
            result=check.outcome,
            galleries=[search.gallery for search in searched.searches],
            candidates=len(candidates),
        )
        return case


def _calibrations(searches: Sequence[GallerySearch]) -> dict[UUID, repository.Calibrated]:
    """Return what the records of the searches say, without asking the database for them again."""
    used = {search.calibration_id: search.calibration for search in searches}
    return {id_: repository.Calibrated(id_, found.method, found.created_at) for id_, found in used.items()}


def _outcome(searched: Searched, candidates: Sequence[NewCandidate]) -> str:
    if searched.probe is None:
        return "not_searchable"
    return "candidates" if candidates else "no_candidates"


def _candidates(session: Session, searches: Sequence[GallerySearch], *, limit: int) -> list[NewCandidate]:
    """Merge what the galleries returned into one list, best first; persons erased meanwhile are left out."""
    found = [(search, candidate) for search in searches for candidate in search.candidates]
    found.sort(key=lambda pair: (-pair[1].score, pair[1].reference_id))
    names = persons_repository.person_ids(session, {candidate.person_key for _search, candidate in found})
    known = [(search, candidate) for search, candidate in found if candidate.person_key in names][:limit]
    merged = []
    for rank, (search, candidate) in enumerate(known, start=1):
        rate = search.calibration.false_alarm_rate(candidate.score)
        merged.append(
            NewCandidate(
                rank=rank,
                person_id=names[candidate.person_key],
                person_key=candidate.person_key,
                reference_id=candidate.reference_id,
                gallery=search.gallery,
                score=candidate.score,
                false_alarm_rate=rate.value,
                false_alarm_low=rate.low,
                false_alarm_high=rate.high,
                extrapolated=rate.extrapolated,
            )
        )
    return merged


def _search_row(search: GallerySearch) -> CheckSearch:
    return CheckSearch(
        gallery=search.gallery,
        generation=search.generation,
        position=search.position,
        persons=search.persons,
        references=search.references,
        threshold=search.threshold,
        calibration_id=search.calibration_id,
        best_score=search.candidates[0].score if search.candidates else None,
        fpir=search.calibration.fpir.value,
        fpir_low=search.calibration.fpir.low,
        fpir_high=search.calibration.fpir.high,
        fpir_n=search.calibration.fpir.n,
    )


def _probe_format(probe: Probe) -> str | None:
    if probe.extraction is not None:
        return probe.extraction.portrait.format
    return None if probe.portrait is None else probe.portrait.format


def _probe_landmarks(probe: Probe) -> list[list[float]] | None:
    if probe.extraction is not None and probe.extraction.landmarks is not None:
        return [[round(float(x), 2), round(float(y), 2)] for x, y in probe.extraction.landmarks]
    return None if probe.portrait is None else probe.portrait.landmarks
