"""Judges and encodes the portraits of a registration, before anything is stored."""

import hashlib
from collections.abc import Sequence
from functools import partial

from index.errors import PortraitError
from index.extraction import Extraction
from index.portrait import decode_portrait
from service.database import Database
from service.engine import Engine
from service.errors import InadmissiblePortraitError
from service.persons import repository
from service.persons.enrolment import PortraitFile, Prepared, PreparedPortrait, gallery_for
from service.persons.schemas import PortraitAnswer, RegistrationFields
from service.settings import Settings


class Preparation:
    """Turns portraits into templates outside any transaction."""

    def __init__(self, *, database: Database, engine: Engine, settings: Settings) -> None:
        """Keep the collaborators."""
        self._database = database
        self._engine = engine
        self._settings = settings

    def prepare(
        self, person_id: str, fields: RegistrationFields, portraits: Sequence[PortraitFile] | None
    ) -> Prepared:
        """Judge and encode portraits, outside any transaction; those stored already are not encoded again.

        Raises:
            InadmissiblePortraitError: A portrait is no picture, or none of them can be enrolled.
        """
        gallery = gallery_for(fields.level_code, self._settings)
        if portraits is None:
            return Prepared(person_id, fields, gallery, None, ())
        if gallery is None:
            self._check_pictures(portraits)
            return Prepared(person_id, fields, None, (), ())
        return self._prepare_portraits(person_id, fields, portraits, gallery)

    def _prepare_portraits(
        self, person_id: str, fields: RegistrationFields, portraits: Sequence[PortraitFile], gallery: str
    ) -> Prepared:
        contract_id = self._engine.pack.contract_id
        with self._database.read() as session:
            encoded = repository.encoded_portraits(session, person_id, contract_id)
        prepared: dict[str, PreparedPortrait] = {}
        answers: list[PortraitAnswer] = []
        faults: list[dict[str, str]] = []
        for at, file in enumerate(portraits):
            sha256 = hashlib.sha256(file.data).hexdigest()
            if sha256 in encoded:
                prepared.setdefault(sha256, PreparedPortrait(sha256, file.taken_on, file.data, None))
                answers.append(_known_answer(at, sha256))
                continue
            try:
                extraction = self._engine.extract(file.data, timeout_s=self._settings.search_timeout_s)
            except PortraitError as error:
                faults.append(_fault(at, error))
                continue
            answers.append(_answer(at, sha256, extraction))
            if extraction.admission.admitted:
                prepared.setdefault(sha256, PreparedPortrait(sha256, file.taken_on, file.data, extraction))
        _refuse(faults, answers, any_admitted=bool(prepared) or not portraits)
        return Prepared(person_id, fields, gallery, tuple(prepared.values()), tuple(answers))

    def _check_pictures(self, portraits: Sequence[PortraitFile]) -> None:
        faults = []
        timeout_s = self._settings.search_timeout_s
        for at, file in enumerate(portraits):
            try:
                self._engine.run(partial(decode_portrait, file.data), timeout_s=timeout_s)
            except PortraitError as error:
                faults.append(_fault(at, error))
        _refuse(faults, [], any_admitted=True)


def _answer(at: int, sha256: str, extraction: Extraction) -> PortraitAnswer:
    return PortraitAnswer(
        index=at,
        sha256=sha256,
        admitted=extraction.admission.admitted,
        reasons=[str(reason) for reason in extraction.admission.reasons],
        marks=[str(mark) for mark in extraction.admission.marks],
        quality=extraction.quality.as_dict(),
    )


def _known_answer(at: int, sha256: str) -> PortraitAnswer:
    return PortraitAnswer(index=at, sha256=sha256, admitted=True, reasons=[], marks=[], quality={})


def _fault(at: int, error: PortraitError) -> dict[str, str]:
    return {"field": f"portraits[{at}].image", "reason": error.reason, "message": error.detail}


def _refuse(faults: list[dict[str, str]], answers: Sequence[PortraitAnswer], *, any_admitted: bool) -> None:
    """Raise when a portrait is no picture, or when none of those given can be enrolled."""
    if faults:
        raise InadmissiblePortraitError(
            "A portrait is not an acceptable picture; nothing was changed.",
            reasons=sorted({fault["reason"] for fault in faults}),
            errors=faults,
        )
    if any_admitted:
        return
    reasons = sorted({reason for answer in answers for reason in answer.reasons})
    raise InadmissiblePortraitError(
        "No portrait can be enrolled; nothing was changed. Send another one.",
        reasons=reasons,
        enrolment={"status": "refused", "gallery": None, "references": 0, "reasons": reasons},
        portraits=[answer.model_dump() for answer in answers],
    )
