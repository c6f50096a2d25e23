"""Gathers what a letter to another authority says: both registrations and what two officers concluded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from uuid import UUID

from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor, Role
from service.codes import Codes, Term
from service.errors import NotFoundError
from service.notices.letter import Letter, LetterFacts, LetterRegistration, chinese_day, write_letter
from service.notices.overview import visible_notice
from service.notices.service import NoticeKind, notices_of_case
from service.review import repository
from service.review.decisions import opinion_of
from service.review.opinion import Stage
from service.review.views import masked
from service.settings import Settings
from service.tables import Case, Check, Decision, Notice, Officer, Person, now

BEIJING = timezone(timedelta(hours=8))
"""Letters bear the day of Beijing."""

STAGES = {Stage.FIRST: "初审", Stage.SECOND: "复核"}

ERASED = "登记已不在本系统中"


@dataclass(frozen=True, slots=True)
class LetterDesk:
    """What letters are made with.

    Attributes:
        settings: The office's name, the form of numbers, what is shown.
        codes: The code tables.
        portrait: Reads the portrait at a location.
    """

    settings: Settings
    codes: Codes
    portrait: Callable[[str], bytes]


def has_letter(session: Session, notice: Notice) -> bool:
    """Tell whether a notice goes to an authority by letter: a request to cancel, or what takes one back."""
    return _request(session, notice) is not None


def print_letter(session: Session, notice_id: UUID, *, desk: LetterDesk, actor: Actor) -> tuple[Letter, str]:
    """Write the letter of a notice, on record; return it with its number.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such notice in the officer's division, or it is told without a letter.
        SettingsError: The font cannot be used.
    """
    actor.require_role(Role.OFFICER, Role.SUPERVISOR)
    notice = visible_notice(session, notice_id, actor=actor).notice
    request = _request(session, notice)
    case = repository.case_by_id(session, notice.case_id)
    if request is None or case is None:
        raise NotFoundError("This notice goes out without a letter.")
    gathering = _Gathering(session, case, desk)
    facts = gathering.facts(notice, request)
    letter = write_letter(facts, font=desk.settings.letter_font)
    record(
        session,
        AuditKind.LETTER_PRINTED,
        actor=actor,
        subject=f"notice:{notice.id}",
        purpose=f"case:{case.id}",
        registrations=[facts.to_cancel.person_id, *(other.person_id for other in facts.others)],
        id_numbers=desk.settings.letter_id_numbers,
        portraits=gathering.portraits,
    )
    return letter, facts.number


def _request(session: Session, notice: Notice) -> Notice | None:
    """Return the request to cancel that a notice is, or takes back."""
    if notice.kind == NoticeKind.CANCEL_REQUEST:
        return notice
    if notice.reverses_id is None:
        return None
    earlier = (one for one in notices_of_case(session, notice.case_id) if one.id == notice.reverses_id)
    return next((one for one in earlier if one.kind == NoticeKind.CANCEL_REQUEST), None)


class _Gathering:
    """Collects the facts of one letter."""

    def __init__(self, session: Session, case: Case, desk: LetterDesk) -> None:
        self._session = session
        self._case = case
        self._settings = desk.settings
        self._codes = desk.codes
        self._portrait = desk.portrait
        self.portraits = 0

    def facts(self, notice: Notice, request: Notice) -> LetterFacts:
        decisions = self._decisions(request)
        person_id = str(request.person_id)
        others = [one for one in request.payload.get("registrations_of_one_person", ()) if one != person_id]
        takes_back = self._number(request) if notice.id != request.id else None
        return LetterFacts(
            sender=self._settings.letter_sender or f"{self._place(self._case.division_code)}公安机关",
            recipient=f"{self._place(notice.recipient)}公安机关",
            number=self._number(notice),
            day=_day(now()),
            due_on=_day(notice.due_at),
            occasion=self._occasion(repository.check_of(self._session, self._case)),
            to_cancel=self._registration(person_id),
            others=() if takes_back else tuple(self._registration(other) for other in sorted(others)),
            conclusions=tuple(self._concluded(decision) for decision in decisions),
            evidence=self._evidence(decisions),
            takes_back=takes_back,
        )

    def _number(self, notice: Notice) -> str:
        return self._settings.letter_number.format(
            year=_day(notice.created_at).year,
            sequence=notice.sequence,
            division=self._case.division_code,
        )

    def _decisions(self, request: Notice) -> list[Decision]:
        """Return the two opinions from which the request followed."""
        before = [one for one in self._case.decisions if one.decided_at <= request.created_at]
        seconds = [one for one in before if one.stage == Stage.SECOND]
        if not seconds:
            return []
        return [one for one in before if one.round == seconds[-1].round and one.stage in STAGES]

    def _concluded(self, decision: Decision) -> str:
        officer: Officer | None = repository.officers_by_id(self._session, {decision.officer_id}).get(
            decision.officer_id
        )
        name = officer.name if officer is not None else ""
        day, stage = chinese_day(_day(decision.decided_at)), STAGES[Stage(decision.stage)]
        return f"{stage}：{day}，民警{name}认定上述登记属同一人。"

    def _evidence(self, decisions: Sequence[Decision]) -> tuple[str, ...]:
        kinds: dict[str, None] = {}
        for decision in decisions:
            for conclusion in opinion_of(self._case, decision).conclusions:
                kinds |= dict.fromkeys(item.kind for item in conclusion.evidence)
        table = self._codes.evidence_kinds
        return tuple(table[kind].zh if kind in table else kind for kind in kinds)

    def _occasion(self, check: Check | None) -> str:
        if check is None:
            return "在人像库内部排查中"
        kinds = self._codes.transaction_types
        kind = kinds[check.transaction_type].zh if check.transaction_type in kinds else check.transaction_type
        return f"在办理{kind}业务（业务编号：{check.transaction_id}）时"

    def _registration(self, person_id: str) -> LetterRegistration:
        person = repository.person_by_id(self._session, person_id)
        portrait = self._newest_portrait(person) if person is not None else None
        return LetterRegistration(person_id, tuple(self._fields(person_id, person)), portrait)

    def _fields(self, person_id: str, person: Person | None) -> list[tuple[str, str]]:
        codes = self._codes
        if person is None:
            names = ("公民身份号码", "性别", "出生日期", "民族", "户籍地", "信息级别代码", "人员类别")
            return [("登记编号", person_id), ("姓名", ERASED), *((name, "") for name in names)]
        number = person.citizen_id_number
        shown = number if self._settings.letter_id_numbers == "full" else masked(number)
        birth = chinese_day(person.birth_date) if person.birth_date is not None else ""
        return [
            ("登记编号", person_id),
            ("姓名", person.name or ""),
            ("公民身份号码", shown or ""),
            ("性别", _term(codes.sexes, person.sex)),
            ("出生日期", birth),
            ("民族", _term(codes.ethnicities, person.ethnicity)),
            ("户籍地", self._place(person.division_code, with_code=True)),
            ("信息级别代码", person.level_code),
            ("人员类别", _term(codes.categories, person.category)),
        ]

    def _newest_portrait(self, person: Person) -> bytes | None:
        if not self._settings.letter_portraits:
            return None
        held = repository.portraits_of_persons(self._session, [person.key])
        if not held:
            return None
        self.portraits += 1
        return self._portrait(held[0].location)

    def _place(self, code: str | None, *, with_code: bool = False) -> str:
        """Return the name of a division, of the nearest above it that has one, or its code."""
        if code is None:
            return ""
        divisions = self._codes.divisions
        for known in (code, f"{code[:4]}00", f"{code[:2]}0000"):
            if known in divisions:
                return (
                    f"{divisions[known].zh}（{code}）" if with_code or known != code else divisions[known].zh
                )
        return code


def _term(table: Mapping[str, Term], code: str | None) -> str:
    if code is None:
        return ""
    return table[code].zh if code in table else code


def _day(at: datetime) -> date:
    return at.astimezone(BEIJING).date()
