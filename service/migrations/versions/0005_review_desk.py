"""drafts, attachments, appeals, and what the queue needs.

Revision: 0005
Follows: 0004
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OPEN = sa.text("closed_at IS NULL")
OPEN_COLUMNS = [
    "urgency",
    "opened_at",
    "id",
    "division_code",
    "state",
    "escalated",
    "claimed_by",
    "kind",
    "transaction_type",
    "closed_at",
]
CLOSED = sa.text("closed_at IS NOT NULL")
CLOSED_COLUMNS = ["state", "division_code", "opened_at"]


def upgrade() -> None:
    """Apply."""
    _prepare_queue()
    _allow_several_registrations()
    _make_attachments()
    _make_drafts()
    _make_appeals()
    _make_looks()
    _add_parents()


def downgrade() -> None:
    """Take back; of several registrations to cancel only the first is kept."""
    for column in ("father_id_number", "mother_id_number"):
        op.execute(f"ALTER TABLE persons DROP COLUMN {column}")
    for table in ("case_looks", "appeals", "drafts", "attachments"):
        op.drop_table(table)
    op.add_column("decisions", sa.Column("registration_to_cancel", sa.String(64), nullable=True))
    for key, stored in _read("registrations_to_cancel"):
        named = stored if isinstance(stored, list) else json.loads(str(stored))
        if named:
            _write(key, "registration_to_cancel", named[0])
    op.execute("ALTER TABLE decisions DROP COLUMN registrations_to_cancel")
    op.drop_index("ix_cases_open", "cases")
    op.drop_index("ix_cases_closed", "cases")
    op.create_index("ix_cases_queue", "cases", CLOSED_COLUMNS)
    for column in ("transaction_type", "urgency"):
        op.execute(f"ALTER TABLE cases DROP COLUMN {column}")


def _prepare_queue() -> None:
    """Give every case its kind of transaction and its urgency, as `service.review.urgency` computes it."""
    op.add_column("cases", sa.Column("urgency", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("cases", sa.Column("transaction_type", sa.String(64), nullable=True))
    op.execute(
        "UPDATE cases SET transaction_type = "
        "(SELECT transaction_type FROM checks WHERE checks.id = cases.check_id)"
    )
    op.execute(
        "UPDATE cases SET urgency = CASE WHEN check_id IS NULL THEN 4 ELSE 0 END + COALESCE("
        "(SELECT CASE WHEN MIN(false_alarm_rate) <= 0.0001 THEN 0 WHEN MIN(false_alarm_rate) <= 0.001 THEN 1 "
        "ELSE 2 END "
        "FROM case_candidates WHERE case_candidates.case_id = cases.id), 2)"
    )
    op.create_index("ix_cases_open", "cases", OPEN_COLUMNS, sqlite_where=OPEN, postgresql_where=OPEN)
    op.drop_index("ix_cases_queue", "cases")
    op.create_index("ix_cases_closed", "cases", CLOSED_COLUMNS, sqlite_where=CLOSED, postgresql_where=CLOSED)


def _allow_several_registrations() -> None:
    """Columns are added and dropped in place: SQLite's copying of tables would delete the conclusions."""
    added = sa.Column("registrations_to_cancel", sa.JSON(), nullable=False, server_default="[]")
    op.add_column("decisions", added)
    for key, person_id in _read("registration_to_cancel"):
        if person_id is not None:
            _write(key, "registrations_to_cancel", json.dumps([person_id]))
    op.execute("ALTER TABLE decisions DROP COLUMN registration_to_cancel")


def _read(column: str) -> list[tuple[int, object]]:
    return [tuple(row) for row in op.get_bind().execute(sa.text(f"SELECT id, {column} FROM decisions"))]


def _write(key: int, column: str, value: str) -> None:
    op.get_bind().execute(
        sa.text(f"UPDATE decisions SET {column} = :value WHERE id = :key"), {"key": key, "value": value}
    )


def _make_attachments() -> None:
    op.create_table(
        "attachments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("officer_id", sa.Uuid(), nullable=False),
        sa.Column("decision_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("media_type", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("location", sa.String(128), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name="fk_attachments_case_id_cases", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["officer_id"], ["officers.id"], name="fk_attachments_officer_id_officers"),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name="fk_attachments_decision_id_decisions", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_attachments"),
        sa.UniqueConstraint("location", name="uq_attachments_location"),
    )
    op.create_index("ix_attachments_case", "attachments", ["case_id", "officer_id"])


def _make_drafts() -> None:
    op.create_table(
        "drafts",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("officer_id", sa.Uuid(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name="fk_drafts_case_id_cases", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["officer_id"], ["officers.id"], name="fk_drafts_officer_id_officers", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("case_id", "officer_id", name="pk_drafts"),
    )
    op.create_index("ix_drafts_officer_id", "drafts", ["officer_id"])


def _make_appeals() -> None:
    op.create_table(
        "appeals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("appellant", sa.String(100), nullable=False),
        sa.Column("appealed_on", sa.Date(), nullable=False),
        sa.Column("grounds", sa.String(2000), nullable=False),
        sa.Column("recorded_by", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("answered_by", sa.Uuid(), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer", sa.String(2000), nullable=True),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name="fk_appeals_case_id_cases", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["recorded_by"], ["officers.id"], name="fk_appeals_recorded_by_officers"),
        sa.ForeignKeyConstraint(["answered_by"], ["officers.id"], name="fk_appeals_answered_by_officers"),
        sa.PrimaryKeyConstraint("id", name="pk_appeals"),
    )
    op.create_index("ix_appeals_case_id", "appeals", ["case_id"])


def _make_looks() -> None:
    op.create_table(
        "case_looks",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("officer_id", sa.Uuid(), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name="fk_case_looks_case_id_cases", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["officer_id"], ["officers.id"], name="fk_case_looks_officer_id_officers", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("case_id", "round", "officer_id", name="pk_case_looks"),
    )


def _add_parents() -> None:
    for column in ("father_id_number", "mother_id_number"):
        op.add_column("persons", sa.Column(column, sa.String(18), nullable=True))
