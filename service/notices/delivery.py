"""Delivers notices by webhook: at least once, in order within a transaction, for days if need be."""

import asyncio
import json
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import SYSTEM
from service.database import Database
from service.notices import queue
from service.notices.queue import Claimed, DeliveryState
from service.notices.schemas import NoticeBody
from service.notices.sending import Outcome, Parcel, Sender
from service.notices.targets import AllowList, Target
from service.settings import Settings
from service.tables import now

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How patiently notices are delivered.

    Attributes:
        timeout_s: Seconds for one attempt.
        first_retry_s: Longest pause after the first failure; it doubles with each further one.
        longest_retry_s: The longest pause of all; no target asks for a longer one, either.
        give_up_after: From then on a delivery is a dead letter.
        lease_margin_s: Seconds by which a lease outlasts an attempt: for the database, and for a look-up
            of names that hangs. After a kill, others take over when the lease has ended.
        at_once: Attempts that run side by side for one target.
    """

    timeout_s: float = 10.0
    first_retry_s: float = 10.0
    longest_retry_s: float = 6 * 3600.0
    give_up_after: timedelta = timedelta(days=5)
    lease_margin_s: float = 60.0
    at_once: int = 16


def policy_of(settings: Settings) -> DeliveryPolicy:
    """Return the policy that the settings ask for."""
    return DeliveryPolicy(
        timeout_s=settings.webhook_timeout_s,
        first_retry_s=settings.webhook_retry_s,
        give_up_after=timedelta(days=settings.webhook_give_up_days),
    )


def pause_s(attempts: int, policy: DeliveryPolicy, *, wait_s: float | None = None) -> float:
    """Return how long to wait after a number of failed attempts.

    Doubling with "equal jitter": half of the pause is certain, half is drawn, so that what failed together
    does not come back together. Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture
    Blog, 2015.

    Args:
        attempts: Failed attempts so far, at least 1.
        policy: The bounds.
        wait_s: What the target asks for; followed up to the longest pause.
    """
    longest = min(policy.longest_retry_s, policy.first_retry_s * 2.0 ** min(attempts - 1, 60))
    drawn = longest * random.uniform(0.5, 1.0)
    return max(drawn, min(wait_s or 0.0, policy.longest_retry_s))


class Delivery:
    """Brings notices to one target; every process has one for each target."""

    def __init__(
        self, target: Target, *, database: Database, allowed: AllowList, policy: DeliveryPolicy
    ) -> None:
        """Send nothing yet."""
        self._target = target
        self._database = database
        self._allowed = allowed
        self._policy = policy
        self._name = secrets.token_hex(16)

    def turn(self) -> bool:
        """Take notices in and send what is due; tell whether more may be due at once.

        Nothing is locked while the target is waited for.
        """
        with self._database.read() as session:
            if not queue.has_work(session, self._target.name, at=now()):
                return False
        taken_in, claimed = self._claim()
        if claimed:
            parcels = [_parcel(delivery) for delivery in claimed]
            outcomes = asyncio.run(self._send(parcels))
            self._settle(claimed, outcomes)
        return bool(claimed) or taken_in == queue.TAKEN_IN_AT_ONCE

    def _claim(self) -> tuple[int, list[Claimed]]:
        policy, at = self._policy, now()
        until = at + timedelta(seconds=policy.timeout_s + policy.lease_margin_s)
        with self._database.write() as session:
            queue.ensure_target(session, self._target.name, at=at)
            taken_in = queue.take_in(
                session,
                self._target.name,
                recipients=self._target.recipients,
                give_up_after=policy.give_up_after,
                at=at,
            )
            claimed = queue.claim(
                session, self._target.name, limit=policy.at_once, by=self._name, until=until, at=at
            )
        return taken_in, claimed

    async def _send(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        async with Sender(self._target, self._allowed, timeout_s=self._policy.timeout_s) as sender:
            return list(await asyncio.gather(*map(sender.send, parcels)))

    def _settle(self, claimed: Sequence[Claimed], outcomes: Sequence[Outcome]) -> None:
        with self._database.write() as session:
            for delivery, outcome in zip(claimed, outcomes, strict=True):
                if outcome.delivered:
                    self._settle_delivered(session, delivery, outcome)
                else:
                    self._settle_failed(session, delivery, outcome)

    def _settle_delivered(self, session: Session, delivery: Claimed, outcome: Outcome) -> None:
        if queue.settle_delivered(session, delivery.id, outcome=outcome.code, at=now()):
            self._record(session, AuditKind.NOTICE_DELIVERED, delivery, outcome)

    def _settle_failed(self, session: Session, delivery: Claimed, outcome: Outcome) -> None:
        """Note a failure; only one that ends the attempts goes on record, or a dead target would fill it."""
        next_at = self._next(delivery, outcome, now())
        log.warning(
            "notice not delivered",
            target=self._target.name,
            notice=str(delivery.notice.id),
            attempt=delivery.attempts,
            outcome=outcome.code,
            dead=next_at is None,
        )
        mine = queue.settle_failed(
            session, delivery.id, by=self._name, outcome=outcome.code, next_at=next_at, at=now()
        )
        if mine and next_at is None:
            self._record(session, AuditKind.NOTICE_DELIVERY_FAILED, delivery, outcome)

    def _record(self, session: Session, kind: AuditKind, delivery: Claimed, outcome: Outcome) -> None:
        record(
            session,
            kind,
            actor=SYSTEM,
            subject=f"notice:{delivery.notice.id}",
            purpose=f"case:{delivery.notice.case_id}",
            result=outcome.code,
            target=self._target.name,
            attempts=delivery.attempts,
        )

    def _next(self, delivery: Claimed, outcome: Outcome, at: datetime) -> datetime | None:
        """Return when to try again; None when that would be too late."""
        pause = pause_s(delivery.attempts, self._policy, wait_s=outcome.wait_s)
        next_at = at + timedelta(seconds=pause)
        return next_at if next_at < delivery.give_up_at else None


def _parcel(claimed: Claimed) -> Parcel:
    notice = claimed.notice
    content = NoticeBody.of(notice).model_dump(mode="json")
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return Parcel(claimed.id, notice.id, body)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What one target has not taken.

    Attributes:
        target: Its name.
        waiting: Deliveries that will be tried again.
        dead: Dead letters.
        oldest_s: Seconds since the oldest notice of both was issued; 0 without any.
    """

    target: str
    waiting: int = 0
    dead: int = 0
    oldest_s: float = 0.0


def backlogs(database: Database, targets: Sequence[Target]) -> list[Backlog]:
    """Return the backlog of every target.

    Raises:
        DatabaseUnavailableError: The database is away.
    """
    with database.read() as session:
        rows = queue.counts(session)
    at, found = now(), []
    for target in targets:
        own = [(state, number, oldest) for name, state, number, oldest in rows if name == target.name]
        number = {state: count for state, count, _oldest in own}
        ages = [(at - oldest).total_seconds() for _state, _count, oldest in own if oldest is not None]
        found.append(
            Backlog(
                target.name,
                waiting=number.get(DeliveryState.WAITING, 0),
                dead=number.get(DeliveryState.DEAD, 0),
                oldest_s=max(ages, default=0.0),
            )
        )
    return found
