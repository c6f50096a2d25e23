"""The whole life of a case: whatever officers try, in whatever order, what must hold holds."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.audit.chain import PENDING, AuditChain, seal_with
from service.audit.keys import load_keys
from service.auth.service import Actor, Role
from service.database import Database
from service.encryption.opening import open_vault
from service.errors import ServiceError
from service.notices.service import NoticeKind, notices_of_case
from service.review.decisions import confirm, decide, first_opinion, opinion_of
from service.review.opinion import OPEN_STATES, CandidateConclusion, CaseKind, CaseState, Opinion, Stage
from service.review.service import claim, release, reopen, withdraw_case
from service.settings import Settings
from service.tables import Case, Notice
from tests.service.review.desk import (
    POLICY,
    add_case,
    by_hand,
    different,
    established,
    officer,
    opinion,
    same,
    undetermined,
)

CANDIDATES = ("P-first", "P-second")


def on_the_face_alone(person_id: str) -> CandidateConclusion:
    return same(person_id, evidence=())


CONCLUSIONS: tuple[Callable[[str], CandidateConclusion], ...] = (
    same,
    different,
    different,
    undetermined,
    on_the_face_alone,
)


@st.composite
def opinions(draw: st.DrawFn) -> Opinion:
    """Opinions of all sorts: most are complete, some have a gap or a contradiction."""
    named = draw(st.sampled_from([CANDIDATES, CANDIDATES, CANDIDATES, CANDIDATES[:1], ()]))
    return opinion(
        *(draw(st.sampled_from(CONCLUSIONS))(person) for person in named),
        cancel=draw(st.sampled_from([None, None, "P-first", "P-second", "P-subject"])),
        identity=draw(st.sampled_from([None, None, None, established(), established("P-first")])),
    )


Who = tuple[bool, int]
"""Whether whoever has claimed the case is meant, and else who by number."""

ANYBODY: st.SearchStrategy[Who] = st.tuples(st.booleans(), st.integers(0, 4))
COLLEAGUE: st.SearchStrategy[Who] = st.tuples(st.just(True), st.integers(0, 3))
COMPLETE = st.sampled_from(
    [
        opinion(different("P-first"), different("P-second")),
        opinion(different("P-first"), different("P-second"), identity=established()),
        opinion(different("P-first"), undetermined("P-second")),
        opinion(same("P-first"), different("P-second"), cancel="P-first"),
        opinion(same("P-first"), different("P-second"), cancel="P-subject"),
        opinion(same("P-first"), different("P-second"), cancel="P-first", identity=established()),
        opinion(same("P-first"), undetermined("P-second"), cancel="P-subject"),
        opinion(same("P-first"), same("P-second"), cancel="P-second"),
    ]
)
BY_HAND = st.sampled_from([opinion(manual=by_hand(s)) for s in (CaseState.CLEARED, CaseState.UNDETERMINED)])


class Snapshot(NamedTuple):
    """All that a refused attempt must leave alone."""

    state: str
    revision: int
    claimed_by: object
    decisions: int
    notices: int
    events: int


class CaseLife(RuleBasedStateMachine):
    """Officers, supervisors and a stranger try everything on one case."""

    database: ClassVar[Database]
    reached: ClassVar[set[str]]

    @initialize(
        kind=st.sampled_from([*CaseKind, CaseKind.TRANSACTION]), subject=st.sampled_from(["P-subject", None])
    )
    def begin(self, kind: CaseKind, subject: str | None) -> None:
        self.session = Session(self.database.engine, expire_on_commit=False, info=self.database.info)
        candidates = () if kind is CaseKind.NOT_SEARCHABLE else CANDIDATES
        self.case: Case = add_case(self.session, candidates, kind=kind, subject=subject)
        self.actors: list[Actor] = [
            officer(self.session),
            officer(self.session),
            officer(self.session, role=Role.SUPERVISOR),
            officer(self.session, role=Role.SUPERVISOR),
            officer(self.session, role=Role.SUPERVISOR, division_code="530300"),
        ]
        self.last = self.snapshot()

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.session.close()

    def snapshot(self) -> Snapshot:
        self.session.refresh(self.case)
        case = self.case
        return Snapshot(
            case.state,
            case.revision,
            case.claimed_by,
            len(case.decisions),
            self.session.scalar(select(func.count()).select_from(Notice)) or 0,
            len(self.session.info.get(PENDING, ())),
        )

    def attempt(self, step: Callable[[], object]) -> None:
        """Try a step as its own transaction: it is refused whole, repeats, or is one change on record."""
        before = self.last
        try:
            with self.session.begin_nested():
                step()
        except ServiceError:
            assert self.snapshot() == before
            return
        self.last = after = self.snapshot()
        if after.revision == before.revision:
            assert after == before
        else:
            assert after.revision == before.revision + 1
            assert after.events == before.events + 1 + (after.notices - before.notices)

    def actor(self, who: Who) -> Actor:
        the_holder, number = who
        holder = next((a for a in self.actors if a.id == self.case.claimed_by), None)
        return holder if the_holder and holder is not None else self.actors[number]

    def decides(self, who: Who, given: Opinion) -> None:
        actor = self.actor(who)
        self.attempt(lambda: decide(self.session, self.case.id, opinion=given, actor=actor, policy=POLICY))

    def confirms(self, who: Who, given: Opinion) -> None:
        actor = self.actor(who)
        self.attempt(lambda: confirm(self.session, self.case.id, opinion=given, actor=actor, policy=POLICY))

    @rule(who=ANYBODY, given=opinions(), second=st.booleans())
    def record_anything(self, who: Who, given: Opinion, second: bool) -> None:
        (self.confirms if second else self.decides)(who, given)

    @rule(who=ANYBODY, take=st.booleans())
    def claim_or_release(self, who: Who, take: bool) -> None:
        actor = self.actor(who)
        self.attempt(lambda: (claim if take else release)(self.session, self.case.id, actor=actor))

    @precondition(lambda self: self.case.state == CaseState.UNDER_REVIEW)
    @rule(who=COLLEAGUE, given=COMPLETE, by_hand_=BY_HAND)
    def decide(self, who: Who, given: Opinion, by_hand_: Opinion) -> None:
        self.decides(who, given if self.case.candidates else by_hand_)

    @precondition(lambda self: self.case.state == CaseState.AWAITING_SECOND_OFFICER)
    @rule(who=COLLEAGUE, given=COMPLETE)
    def confirm(self, who: Who, given: Opinion) -> None:
        self.confirms(who, given)

    @precondition(lambda self: self.case.state == CaseState.AWAITING_SECOND_OFFICER)
    @rule(who=COLLEAGUE, cancel=st.sampled_from([None, None, "P-first", "P-subject"]))
    def repeat_the_first_opinion(self, who: Who, cancel: str | None) -> None:
        first = first_opinion(self.session, self.case)
        self.confirms(
            who, first if cancel is None else replace(first, registrations_to_cancel=frozenset({cancel}))
        )

    @precondition(lambda self: self.case.state not in OPEN_STATES)
    @rule(who=COLLEAGUE)
    def reopen(self, who: Who) -> None:
        actor = self.actor(who)
        self.attempt(
            lambda: reopen(self.session, self.case.id, reason="An appeal.", actor=actor, policy=POLICY)
        )

    @rule(truly=st.integers(0, 49))
    def withdraw(self, truly: int) -> None:
        if truly == 0:
            self.attempt(lambda: withdraw_case(self.session, self.case.id))

    @invariant()
    def claims_and_closing_times_fit_the_state(self) -> None:
        if not hasattr(self, "case"):
            return
        self.reached.add(self.case.state)
        is_open = self.case.state in OPEN_STATES
        assert (self.case.closed_at is None) is is_open
        assert is_open or self.case.claimed_by is None
        assert (self.case.claimed_by is None) is (self.case.claimed_at is None)

    @invariant()
    def a_confirmed_duplicate_is_what_two_officers_found_on_evidence(self) -> None:
        if not hasattr(self, "case") or self.case.state != CaseState.DUPLICATE_CONFIRMED:
            return
        decisions = [d for d in self.case.decisions if d.round == self.case.round]
        assert [d.stage for d in decisions] == [Stage.FIRST, Stage.SECOND]
        assert decisions[0].officer_id != decisions[1].officer_id
        first, second = (opinion_of(self.case, decision) for decision in decisions)
        assert first.same_person == second.same_person != frozenset()
        assert first.registrations_to_cancel == second.registrations_to_cancel
        for given in (*first.conclusions, *second.conclusions):
            assert given.person_id not in first.same_person or given.evidence

    @invariant()
    def the_notices_that_stand_fit_the_state(self) -> None:
        if not hasattr(self, "case"):
            return
        notices = notices_of_case(self.session, self.case.id)
        reversed_ = {notice.reverses_id for notice in notices if notice.kind == NoticeKind.REVERSAL}
        standing = {n.kind for n in notices if n.kind != NoticeKind.REVERSAL and n.id not in reversed_}
        standing.discard(NoticeKind.LEVEL_CODE_CHANGE)
        waits = self.case.check_id is not None
        if self.case.state == CaseState.CLEARED:
            assert standing == ({NoticeKind.RELEASE} if waits else set())
        elif self.case.state == CaseState.DUPLICATE_CONFIRMED:
            standing.discard(NoticeKind.CANCEL_REQUEST)
            assert standing == ({NoticeKind.TERMINATE} if waits else set())
        else:
            assert {n.id for n in notices if n.kind != NoticeKind.REVERSAL} == reversed_

    @invariant()
    def each_round_holds_at_most_one_opinion_of_each_kind(self) -> None:
        if not hasattr(self, "case"):
            return
        stages = [(decision.round, decision.stage) for decision in self.case.decisions]
        assert len(stages) == len(set(stages))
        assert all(round_ <= self.case.round for round_, _ in stages)


def test_whatever_officers_try_in_whatever_order_the_rules_hold(
    sqlite_template: Path, tmp_path: Path
) -> None:
    """On SQLite only, for speed: what differs between the databases are races, which have their own tests."""
    shutil.copy(sqlite_template, tmp_path / "oneperson.db")
    database = Database(f"sqlite:///{tmp_path / 'oneperson.db'}")
    seal_with(database, AuditChain(load_keys(Settings())))
    open_vault(database, Settings())
    bound: type[CaseLife] = type("BoundLife", (CaseLife,), {"database": database, "reached": set()})
    run_state_machine_as_test(
        bound,
        settings=settings(
            max_examples=50,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    database.close()
    assert bound.reached == set(CaseState)
