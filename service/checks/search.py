"""From a request to a searched probe: no database writes here, and nothing decided."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from index.errors import GalleryError, PortraitError
from index.extraction import Extraction
from index.types import Vectors
from service.checks.schemas import CheckRequest
from service.codes import Codes
from service.database import Database
from service.engine import Engine
from service.errors import (
    CheckNotRequiredError,
    GalleryNotReadyError,
    InadmissiblePortraitError,
    InvalidRequestError,
)
from service.galleries.repository import is_template
from service.galleries.service import Galleries, GallerySearch
from service.part_times import spent, timed
from service.persons import repository as persons_repository
from service.persons.enrolment import FLAGGED, NO_PORTRAIT, REGISTERED
from service.settings import Settings
from service.tables import Portrait

UNKNOWN_PERSON = "unknown-person"
"""Reason for which a subject cannot be searched: the registration is not known here."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom the transaction concerns, as far as the database knows them.

    Attributes:
        person_key: Key of the registration, None when it is not known here.
        flagged: Whether its level code is a flagged one.
        portrait: The newest encoded portrait on file.
        template: That portrait's template, shape (d,).
    """

    person_key: int | None
    flagged: bool
    portrait: Portrait | None = None
    template: Vectors | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Probe:
    """The face that is searched, and where it came from.

    Attributes:
        template: Shape (d,), L2 norm 1.
        quality: Measures and marks, for the record.
        data: The picture that came with the request.
        extraction: What was made of it.
        portrait: The enrolled portrait that was searched instead.
    """

    template: Vectors = field(repr=False)
    quality: dict[str, Any]
    data: bytes | None = field(default=None, repr=False)
    extraction: Extraction | None = field(default=None, repr=False)
    portrait: Portrait | None = None


@dataclass(frozen=True, slots=True)
class Searched:
    """Everything that a check's answer rests on.

    Attributes:
        probe: None when there was nothing to search with.
        searches: One per gallery searched, none when there was no probe.
        reasons: Why there was no probe.
        timings_ms: Time that each part took.
    """

    probe: Probe | None
    searches: list[GallerySearch]
    reasons: list[str]
    timings_ms: dict[str, float]


class ProbeSearch:
    """Encodes a probe and searches the galleries that policy names."""

    def __init__(
        self, *, database: Database, engine: Engine, galleries: Galleries, codes: Codes, settings: Settings
    ) -> None:
        """Keep the collaborators."""
        self._database = database
        self._engine = engine
        self._galleries = galleries
        self._codes = codes
        self._settings = settings

    @property
    def contract_id(self) -> str:
        """Identify the pack that encodes the probes."""
        return self._engine.pack.contract_id

    def require_allowed(self, transaction_type: str) -> None:
        """Let through the kinds of transaction at which a face may be searched.

        Raises:
            InvalidRequestError: The kind is not in the code table.
            CheckNotRequiredError: No face may be searched at this kind.
        """
        kind = self._codes.transaction_types.get(transaction_type)
        if kind is None:
            known = ", ".join(sorted(self._codes.transaction_types))
            raise InvalidRequestError(
                "transaction.type is not in the code table.",
                errors=[
                    {"field": "transaction.type", "message": "is not known", "remedy": f"use one of: {known}"}
                ],
            )
        if kind.check == "nobody":
            raise CheckNotRequiredError(
                "At this kind of transaction no face is searched; do not send a check."
            )

    def run(self, request: CheckRequest, portrait: bytes | None) -> Searched:
        """Encode the probe and search.

        Args:
            request: A request whose transaction kind is allowed.
            portrait: The picture that came with it.

        Raises:
            InadmissiblePortraitError: The picture cannot be searched; `reasons` says why.
            GalleryNotReadyError: A gallery could not be searched whole.
            OverloadedError: Too much is waiting.
            SearchTimeoutError: It took too long.
        """
        subject = self._subject(request)
        if portrait is None and subject.template is None:
            reason = NO_PORTRAIT if subject.person_key is not None else UNKNOWN_PERSON
            return Searched(None, [], [reason], {})
        return self._engine.run(
            lambda: self._encode_and_search(subject, portrait), timeout_s=self._settings.search_timeout_s
        )

    def _subject(self, request: CheckRequest) -> Subject:
        if request.person_id is None:
            return Subject(None, flagged=False)
        with self._database.read() as session:
            person = persons_repository.person(session, request.person_id)
            if person is None:
                return Subject(None, flagged=False)
            flagged = person.level_code in self._settings.flagged_codes
            if request.portrait is not None:
                return Subject(person.key, flagged)
            contract_id = self._engine.pack.contract_id
            newest = persons_repository.latest_template(session, person.key, contract_id)
        if newest is None:
            return Subject(person.key, flagged)
        row, vector = newest
        if not is_template(vector, self._engine.pack.dimension):
            raise GalleryNotReadyError("The subject's stored template is damaged; run 'oneperson rebuild'.")
        return Subject(person.key, flagged, row, np.frombuffer(vector, dtype="<f4"))

    def _encode_and_search(self, subject: Subject, portrait: bytes | None) -> Searched:
        probe, timings = self._probe(subject, portrait)
        began = time.perf_counter()
        exclude = frozenset() if subject.person_key is None else frozenset({subject.person_key})
        try:
            with timed("search"):
                searches = self._galleries.search(
                    self._names(subject),
                    probe.template,
                    exclude=exclude,
                    limit=self._settings.candidate_limit,
                )
        except GalleryError as error:
            raise GalleryNotReadyError("The gallery could not be searched; nothing was decided.") from error
        timings["search"] = (time.perf_counter() - began) * 1000
        return Searched(probe, searches, [], {name: round(value, 3) for name, value in timings.items()})

    def _names(self, subject: Subject) -> Sequence[str]:
        if not self._settings.enrol_registered:
            return (FLAGGED,)
        everyone = self._settings.search_registered_for == "everyone"
        return (FLAGGED, REGISTERED) if everyone or subject.flagged else (FLAGGED,)

    def _probe(self, subject: Subject, portrait: bytes | None) -> tuple[Probe, dict[str, float]]:
        if portrait is not None:
            extraction = self._extract(portrait)
            spent(extraction.timings_ms)
            return _extracted_probe(portrait, extraction), dict(extraction.timings_ms)
        if subject.template is None or subject.portrait is None:
            raise AssertionError("unreachable: run() answers subjects without a template")
        quality = {**subject.portrait.quality, "marks": subject.portrait.marks}
        return Probe(subject.template, quality, portrait=subject.portrait), {}

    def _extract(self, portrait: bytes) -> Extraction:
        try:
            extraction = self._engine.extractor.extract(portrait)
        except PortraitError as error:
            raise InadmissiblePortraitError(
                f"The portrait is not an acceptable picture: {error.detail}",
                reasons=[error.reason],
                errors=[{"field": "portrait", "reason": error.reason, "message": error.detail}],
            ) from error
        if not extraction.admission.admitted or extraction.template is None:
            raise InadmissiblePortraitError(
                "The portrait cannot be searched; take another one.",
                reasons=[str(reason) for reason in extraction.admission.reasons],
                quality=extraction.quality.as_dict(),
            )
        return extraction


def _extracted_probe(data: bytes, extraction: Extraction) -> Probe:
    if extraction.template is None:
        raise AssertionError("unreachable: an admitted portrait has a template")
    marks = [str(mark) for mark in extraction.admission.marks]
    quality = {**extraction.quality.as_dict(), "marks": marks}
    return Probe(extraction.template, quality, data=data, extraction=extraction)
