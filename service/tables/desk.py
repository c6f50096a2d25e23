"""What lies on an officer's desk beside the case itself: files, drafts and appeals."""

from datetime import date, datetime
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from service.tables.base import Base, UtcDateTime, now


class Attachment(Base):
    """A file that an officer attached as evidence; its bytes lie in the store at `location`.

    It is its officer's alone until `decision_id` names the decision that it was recorded with.
    """

    __tablename__ = "attachments"
    __table_args__ = (Index("ix_attachments_case", "case_id", "officer_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    officer_id: Mapped[UUID] = mapped_column(ForeignKey("officers.id"))
    decision_id: Mapped[int | None] = mapped_column(ForeignKey("decisions.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(200))
    media_type: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    location: Mapped[str] = mapped_column(String(128), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class Draft(Base):
    """What one officer has typed on one case and not sent; nobody else ever reads it."""

    __tablename__ = "drafts"

    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True)
    officer_id: Mapped[UUID] = mapped_column(
        ForeignKey("officers.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    content: Mapped[bytes] = mapped_column(LargeBinary)
    saved_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class Appeal(Base):
    """Somebody's objection to how a case was decided; `state` is pending, taken_up or dismissed."""

    __tablename__ = "appeals"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    round: Mapped[int]
    appellant: Mapped[str] = mapped_column(String(100))
    appealed_on: Mapped[date]
    grounds: Mapped[str] = mapped_column(String(2000))
    recorded_by: Mapped[UUID] = mapped_column(ForeignKey("officers.id"))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    state: Mapped[str] = mapped_column(String(16), default="pending")
    answered_by: Mapped[UUID | None] = mapped_column(ForeignKey("officers.id"))
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answer: Mapped[str | None] = mapped_column(String(2000))
