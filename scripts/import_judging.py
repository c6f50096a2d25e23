"""Judges one record of an import: reads its portraits, encodes them, or tells why not."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scripts.import_portraits import PortraitFileError, PortraitFolder
from scripts.import_rows import Refusal, Row
from service.errors import InadmissiblePortraitError, ServiceError
from service.persons.comparison import StoredRegistration
from service.persons.enrolment import NO_PORTRAIT, PortraitFile, Prepared, PreparedPortrait, gallery_for
from service.persons.service import Persons
from service.settings import Settings

ANOTHER_PICTURE = "take or scan another portrait, and import the line again"


@dataclass(frozen=True, slots=True)
class Judged:
    """One record, ready to be stored or not.

    Attributes:
        row: The record.
        prepared: What is to be stored; None when nothing is.
        unchanged: Whether it is stored already.
        refusals: Reasons against the record, or against some of its portraits.
    """

    row: Row
    prepared: Prepared | None = field(repr=False)
    unchanged: bool
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A portrait and its position in the row, from 0."""

    at: int
    file: PortraitFile


class Judge:
    """Prepares records for storing; called from several threads at once."""

    def __init__(self, *, persons: Persons, folder: PortraitFolder, settings: Settings) -> None:
        """Keep the collaborators."""
        self._persons = persons
        self._folder = folder
        self._settings = settings

    def judge(self, row: Row, stored: StoredRegistration | None) -> Judged:
        """Read and encode one record's portraits, unless it is stored already.

        Args:
            row: The record.
            stored: What is stored of the person, None when nothing is.
        """
        refusals: list[Refusal] = []
        files = self._read(row, stored, refusals)
        if row.portraits and not files:
            return Judged(row, None, False, tuple(refusals))
        gallery = gallery_for(row.fields.level_code, self._settings)
        if stored is not None and _is_stored(row, files, stored, gallery):
            if gallery is not None and stored.gallery is None:
                refusals.append(no_portrait(row))
            return Judged(row, None, True, tuple(refusals))
        return self._prepare(row, files, refusals)

    def _read(self, row: Row, stored: StoredRegistration | None, refusals: list[Refusal]) -> list[_Numbered]:
        days = stored.portraits if stored is not None else {}
        files = []
        for at, name in enumerate(row.portraits):
            try:
                data = self._folder.read(name)
            except PortraitFileError as error:
                refusals.append(_portrait_refusal(row, at, error.reason, error.remedy))
                continue
            # The file names no day, so one that was told before stays.
            taken_on = days.get(hashlib.sha256(data).hexdigest()) if days else None
            files.append(_Numbered(at, PortraitFile(data, taken_on)))
        return files

    def _prepare(self, row: Row, files: list[_Numbered], refusals: list[Refusal]) -> Judged:
        """Encode; portraits that are no pictures are left out and reported, the others are taken."""
        try:
            portraits = [item.file for item in files] if row.portraits else None
            prepared = self._persons.prepare(row.person_id, row.fields, portraits)
        except InadmissiblePortraitError as error:
            damaged, admissible = _parted(row, files, error.extensions)
            refusals += damaged
            if damaged and admissible:
                return self._prepare(row, admissible, refusals)
            return Judged(row, None, False, tuple(refusals))
        except ServiceError as error:
            refusals.append(Refusal(row.line, row.person_id, "", error.code, error.detail))
            return Judged(row, None, False, tuple(refusals))
        for answer in prepared.answers:
            if not answer.admitted:
                reason = ", ".join(answer.reasons)
                refusals.append(_portrait_refusal(row, files[answer.index].at, reason, ANOTHER_PICTURE))
        return Judged(row, _without_pixels(prepared), False, tuple(refusals))


def no_portrait(row: Row) -> Refusal:
    """Tell that a registration was taken, but that its person cannot be found in the gallery."""
    remedy = "the registration is stored, but not in the gallery; add a portrait"
    return Refusal(row.line, row.person_id, "portrait", NO_PORTRAIT, remedy)


def _is_stored(row: Row, files: Sequence[_Numbered], stored: StoredRegistration, gallery: str | None) -> bool:
    if not row.portraits:
        return stored.holds(row.fields, gallery, None)
    # Of persons who are enrolled nowhere no portrait is kept, so there is none to compare.
    hashes = [hashlib.sha256(item.file.data).hexdigest() for item in files] if gallery is not None else []
    return stored.holds(row.fields, gallery, hashes)


def _parted(
    row: Row, files: Sequence[_Numbered], told: dict[str, Any]
) -> tuple[list[Refusal], list[_Numbered]]:
    """Part the portraits by what the service told: reasons against some, and the rest."""
    reasons = {f"portraits[{at}].image": item for at, item in enumerate(files)}
    against: dict[int, tuple[str, str]] = {}
    for fault in told.get("errors", ()):
        against[reasons[fault["field"]].at] = (fault["reason"], fault["message"])
    for answer in told.get("portraits", ()):
        if answer["reasons"]:
            against[files[answer["index"]].at] = (", ".join(answer["reasons"]), ANOTHER_PICTURE)
    refusals = [_portrait_refusal(row, at, *words) for at, words in against.items()]
    return refusals, [item for item in files if item.at not in against]


def _portrait_refusal(row: Row, at: int, reason: str, remedy: str) -> Refusal:
    which = f"portrait {at + 1} of {len(row.portraits)}: " if len(row.portraits) > 1 else ""
    return Refusal(row.line, row.person_id, "portrait", which + reason, remedy)


def _without_pixels(prepared: Prepared) -> Prepared:
    """Drop the decoded pictures: a waiting batch of large scans would take gigabytes."""
    if prepared.portraits is None:
        return prepared
    return replace(prepared, portraits=tuple(map(_file_only, prepared.portraits)))


def _file_only(portrait: PreparedPortrait) -> PreparedPortrait:
    if portrait.extraction is None:
        return portrait
    picture = replace(portrait.extraction.portrait, pixels=np.empty((0, 0, 3), dtype=np.uint8))
    return replace(portrait, extraction=replace(portrait.extraction, portrait=picture))
