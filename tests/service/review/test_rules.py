"""What may be decided, and what follows from it."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from service.errors import EvidenceMissingError, InvalidRequestError
from service.language import LANGUAGES, catalogue
from service.notices.service import NoticeKind
from service.review import rules
from service.review.opinion import (
    CandidateConclusion,
    CaseState,
    ConclusionKind,
    Evidence,
    IdentityEstablished,
    Opinion,
)
from service.review.rules import CaseFacts, agree, check_first, check_second, notices_due, outcome_of
from tests.service.review.desk import (
    AGREEING,
    CLEARING,
    CODES,
    DISAGREEING,
    SUSPECTING,
    by_hand,
    different,
    established,
    opinion,
    same,
    undetermined,
)

FACTS = CaseFacts("P-subject", frozenset({"P-first", "P-second"}), has_transaction=True)
WITHOUT_SUBJECT = CaseFacts(None, frozenset({"P-first", "P-second"}), has_transaction=True)
WITHOUT_CANDIDATES = CaseFacts("P-subject", frozenset(), has_transaction=True)
SWEEP = CaseFacts("P-subject", frozenset({"P-first", "P-second"}), has_transaction=False)

OUTCOMES = [
    (CLEARING, CaseState.CLEARED),
    (opinion(undetermined("P-first"), different("P-second")), CaseState.UNDETERMINED),
    (opinion(undetermined("P-first"), undetermined("P-second")), CaseState.UNDETERMINED),
    (SUSPECTING, CaseState.AWAITING_SECOND_OFFICER),
    (
        opinion(same("P-first"), undetermined("P-second"), cancel="P-subject"),
        CaseState.AWAITING_SECOND_OFFICER,
    ),
    (
        opinion(same("P-first"), same("P-second"), cancel="P-second"),
        CaseState.AWAITING_SECOND_OFFICER,
    ),
]


@pytest.mark.parametrize(("given", "state"), OUTCOMES)
def test_conclusions_lead_to_one_state(given: Opinion, state: CaseState) -> None:
    check_first(given, FACTS, CODES)
    assert outcome_of(given) is state


@pytest.mark.parametrize("state", [CaseState.CLEARED, CaseState.UNDETERMINED])
def test_a_case_without_candidates_is_concluded_by_hand(state: CaseState) -> None:
    given = opinion(manual=by_hand(state))
    check_first(given, WITHOUT_CANDIDATES, CODES)
    assert outcome_of(given) is state


def test_undetermined_by_hand_needs_no_evidence() -> None:
    check_first(opinion(manual=by_hand(CaseState.UNDETERMINED, evidence=())), WITHOUT_CANDIDATES, CODES)


def test_one_registration_alone_need_not_be_cancelled() -> None:
    """Somebody who asks for a first registration, and has one already, holds one."""
    check_first(opinion(same("P-first"), different("P-second")), WITHOUT_SUBJECT, CODES)


NO_REASON = CandidateConclusion("P-first", ConclusionKind.DIFFERENT_PERSON, " \n")
REFUSED = [
    ("conclusions", opinion()),
    ("conclusions", opinion(different("P-first"))),
    ("conclusions", opinion(different("P-first"), different("P-first"))),
    ("conclusions", opinion(different("P-first"), different("P-first"), different("P-second"))),
    ("conclusions", opinion(different("P-first"), different("P-second"), different("P-else"))),
    ("conclusions", opinion(different("P-first"), different("P-second"), different("P-subject"))),
    ("conclusions.reason", opinion(NO_REASON, different("P-second"))),
    (
        "conclusions.evidence",
        opinion(same("P-first", evidence=(Evidence("face", "x"),)), different("P-second")),
    ),
    (
        "conclusions.evidence",
        opinion(same("P-first", evidence=(Evidence("dna", " "),)), different("P-second")),
    ),
    ("manual_conclusion", opinion(different("P-first"), different("P-second"), manual=by_hand())),
    ("registrations_to_cancel", opinion(same("P-first"), different("P-second"))),
    ("registrations_to_cancel", opinion(same("P-first"), different("P-second"), cancel="P-second")),
    ("registrations_to_cancel", opinion(same("P-first"), different("P-second"), cancel="P-else")),
    ("registrations_to_cancel", opinion(different("P-first"), different("P-second"), cancel="P-subject")),
    ("registrations_to_cancel", opinion(undetermined("P-first"), different("P-second"), cancel="P-first")),
    (
        "identity_established.person_id",
        opinion(different("P-first"), different("P-second"), identity=established("P-first")),
    ),
    (
        "identity_established.person_id",
        opinion(same("P-first"), different("P-second"), cancel="P-first", identity=established("P-first")),
    ),
    (
        "identity_established.level_code",
        opinion(different("P-first"), different("P-second"), identity=established(level_code="30")),
    ),
    (
        "identity_established.reason",
        opinion(
            different("P-first"), different("P-second"), identity=IdentityEstablished("P-subject", "10", "")
        ),
    ),
    (
        "identity_established",
        opinion(different("P-first"), undetermined("P-second"), identity=established()),
    ),
]


@pytest.mark.parametrize(("field", "given"), REFUSED)
def test_an_incomplete_or_contradictory_opinion_is_refused(field: str, given: Opinion) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        check_first(given, FACTS, CODES)
    assert [fault["field"] for fault in raised.value.extensions["errors"]] == [field]
    assert set(raised.value.extensions["errors"][0]) == {"field", "message", "remedy"}


REFUSED_WITHOUT_CANDIDATES = [
    ("manual_conclusion", opinion()),
    ("conclusions", CLEARING),
    ("manual_conclusion.outcome", opinion(manual=by_hand(CaseState.DUPLICATE_CONFIRMED))),
    ("manual_conclusion.outcome", opinion(manual=by_hand(CaseState.WITHDRAWN))),
    ("registrations_to_cancel", opinion(manual=by_hand(), cancel="P-subject")),
    ("identity_established.person_id", opinion(manual=by_hand(), identity=established("P-else"))),
    (
        "identity_established",
        opinion(manual=by_hand(CaseState.UNDETERMINED), identity=established()),
    ),
]


@pytest.mark.parametrize(("field", "given"), REFUSED_WITHOUT_CANDIDATES)
def test_a_case_without_candidates_takes_nothing_but_a_conclusion_by_hand(field: str, given: Opinion) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        check_first(given, WITHOUT_CANDIDATES, CODES)
    assert raised.value.extensions["errors"][0]["field"] == field


def test_same_person_needs_evidence_beyond_the_face() -> None:
    given = opinion(same("P-first", evidence=()), different("P-second"), cancel="P-first")
    with pytest.raises(EvidenceMissingError):
        check_first(given, FACTS, CODES)


@pytest.mark.parametrize("nothing", ["", "　", "\u200b\u2060", "\ufeff", "……"])
def test_what_nobody_can_see_is_neither_a_reason_nor_evidence(nothing: str) -> None:
    unseen = (Evidence("visit", nothing),)
    blank = replace(different("P-first"), reason=nothing)
    for one in (same("P-first", evidence=unseen), blank):
        for check in (check_first, partial(check_second, to_confirm=frozenset({"P-first"}))):
            with pytest.raises(InvalidRequestError):
                check(opinion(one, different("P-second"), cancel="P-first"), FACTS, CODES)


def test_the_second_officer_needs_evidence_of_their_own() -> None:
    given = opinion(same("P-first", evidence=()), cancel="P-first")
    with pytest.raises(EvidenceMissingError):
        check_second(given, FACTS, CODES, to_confirm=frozenset({"P-first"}))


def test_clearing_by_hand_needs_evidence() -> None:
    with pytest.raises(EvidenceMissingError):
        check_first(opinion(manual=by_hand(evidence=())), WITHOUT_CANDIDATES, CODES)


def test_the_second_officer_concludes_on_what_awaits_confirmation_and_may_on_the_rest() -> None:
    to_confirm = frozenset({"P-first"})
    check_second(AGREEING, FACTS, CODES, to_confirm=to_confirm)
    check_second(DISAGREEING, FACTS, CODES, to_confirm=to_confirm)
    check_second(SUSPECTING, FACTS, CODES, to_confirm=to_confirm)
    with pytest.raises(InvalidRequestError):
        check_second(opinion(different("P-second")), FACTS, CODES, to_confirm=to_confirm)
    with pytest.raises(InvalidRequestError):
        check_second(opinion(same("P-first")), FACTS, CODES, to_confirm=to_confirm)


BOTH_SAME = opinion(same("P-first"), same("P-second"), cancel="P-first")
AGREEMENTS = [
    (SUSPECTING, AGREEING, True),
    (SUSPECTING, SUSPECTING, True),
    (SUSPECTING, DISAGREEING, False),
    (SUSPECTING, opinion(undetermined("P-first")), False),
    (SUSPECTING, opinion(same("P-first"), cancel="P-subject"), False),
    (SUSPECTING, BOTH_SAME, False),
    (BOTH_SAME, BOTH_SAME, True),
    (BOTH_SAME, opinion(same("P-first"), different("P-second"), cancel="P-first"), False),
    (SUSPECTING, opinion(same("P-first"), cancel="P-first", identity=established()), True),
    (
        opinion(same("P-first"), cancel="P-first", identity=established()),
        opinion(same("P-first"), cancel="P-first", identity=established(level_code="11")),
        False,
    ),
    (
        opinion(same("P-first"), cancel="P-first", identity=established()),
        opinion(same("P-first"), cancel="P-first", identity=established()),
        True,
    ),
]


@pytest.mark.parametrize(("first", "second", "expected"), AGREEMENTS)
def test_two_officers_agree_only_on_the_same_persons_and_the_same_registration(
    first: Opinion, second: Opinion, expected: bool
) -> None:
    assert agree(first, second) is expected


RELEASE = (NoticeKind.RELEASE, "P-subject", None)
TERMINATE = (NoticeKind.TERMINATE, "P-subject", None)
CANCEL = (NoticeKind.CANCEL_REQUEST, "P-first", None)
LEVEL = (NoticeKind.LEVEL_CODE_CHANGE, "P-subject", "10")
IDENTIFYING = opinion(different("P-first"), different("P-second"), identity=established())
CONFIRMED = CaseState.DUPLICATE_CONFIRMED
NOTICES = [
    (CaseState.CLEARED, [CLEARING], FACTS, [RELEASE]),
    (CaseState.CLEARED, [CLEARING], SWEEP, []),
    (CaseState.CLEARED, [IDENTIFYING], FACTS, [RELEASE, LEVEL]),
    (CaseState.CLEARED, [IDENTIFYING], SWEEP, [LEVEL]),
    (CaseState.UNDETERMINED, [opinion(undetermined("P-first"))], FACTS, []),
    (CaseState.AWAITING_SECOND_OFFICER, [SUSPECTING], FACTS, []),
    (CaseState.AWAITING_SECOND_OFFICER, [opinion(same("P-first"), identity=established())], FACTS, []),
    (CaseState.UNDER_REVIEW, [SUSPECTING, DISAGREEING], FACTS, []),
    (CONFIRMED, [SUSPECTING, AGREEING], FACTS, [TERMINATE, CANCEL]),
    (CONFIRMED, [SUSPECTING, AGREEING], SWEEP, [CANCEL]),
    (CONFIRMED, [opinion(same("P-first")), opinion(same("P-first"))], FACTS, [TERMINATE]),
    (
        CONFIRMED,
        [SUSPECTING, opinion(same("P-first"), cancel="P-first", identity=established())],
        FACTS,
        [TERMINATE, CANCEL, LEVEL],
    ),
]


@pytest.mark.parametrize(("state", "opinions", "facts", "expected"), NOTICES)
def test_each_outcome_demands_its_notices(
    state: CaseState,
    opinions: list[Opinion],
    facts: CaseFacts,
    expected: list[tuple[NoticeKind, str | None, str | None]],
) -> None:
    due = notices_due(state, opinions, facts)
    assert [(notice.kind, notice.person_id, notice.level_code) for notice in due] == expected


def test_evidence_of_every_delivered_kind_is_taken() -> None:
    for kind in CODES.evidence_kinds:
        given = opinion(
            same("P-first", evidence=(Evidence(kind, "x"),)), different("P-second"), cancel="P-first"
        )
        check_first(given, FACTS, CODES)


THREE = frozenset({"P-first", "P-second", "P-third"})


def test_several_registrations_can_go_and_one_stays() -> None:
    facts = CaseFacts(subject="P-subject", candidates=THREE, has_transaction=True)
    everyone = (same("P-first"), same("P-second"), different("P-third"))
    given = opinion(*everyone, cancel=("P-first", "P-second"))
    check_first(given, facts, CODES)
    assert agree(given, given)
    assert not agree(given, opinion(*everyone, cancel="P-first"))
    assert [(n.kind, n.person_id) for n in notices_due(CONFIRMED, [given, given], facts)] == [
        (NoticeKind.TERMINATE, "P-subject"),
        (NoticeKind.CANCEL_REQUEST, "P-first"),
        (NoticeKind.CANCEL_REQUEST, "P-second"),
    ]
    with pytest.raises(InvalidRequestError):
        check_first(opinion(*everyone, cancel=("P-first", "P-second", "P-subject")), facts, CODES)
    with pytest.raises(InvalidRequestError):
        check_first(opinion(*everyone, cancel=("P-first", "P-third")), facts, CODES)


def test_a_registration_that_went_meanwhile_is_not_cancelled_again() -> None:
    facts = replace(FACTS, erased=frozenset({"P-first"}))
    with pytest.raises(InvalidRequestError):
        check_first(SUSPECTING, facts, CODES)
    without = opinion(same("P-first"), different("P-second"))
    check_first(without, facts, CODES)
    assert agree(SUSPECTING, without, erased=facts.erased)
    assert not agree(SUSPECTING, without)
    due = notices_due(CONFIRMED, [SUSPECTING, without], facts)
    assert [notice.kind for notice in due] == [NoticeKind.TERMINATE]


def test_every_refusal_is_told_in_both_languages() -> None:
    sources = "".join(path.read_text("utf-8") for path in Path(rules.__file__).parent.glob("*.py"))
    sources += (Path(rules.__file__).parents[1] / "web" / "opinions.py").read_text("utf-8")
    keys = {key.split(".")[1] for key in catalogue("en") if key.startswith("refusal.")} - {"fault"}
    assert [key for key in sorted(keys) if f'"{key}"' not in sources] == []
    for given in (opinion(), opinion(same("P-first"), different("P-second"))):
        with pytest.raises(InvalidRequestError) as raised:
            check_first(given, FACTS, CODES)
        chinese, english = (raised.value.extensions_in(language)["errors"][0] for language in LANGUAGES)
        assert chinese["field"] == english["field"]
        assert re.search(r"[\u4e00-\u9fff]", raised.value.detail_in("zh-CN"))
        assert raised.value.detail == raised.value.detail_in("en")
