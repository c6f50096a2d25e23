"""the follow-up register and the monthly tables.

Revision: 0007
Follows: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')

BEIJING_MONTH = {
    'sqlite': "strftime('%Y-%m', created_at, '+8 hours')",
    'postgresql': "to_char(created_at AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM')",
}
"""The Beijing month of a row's `created_at`."""

FLAGGED = "(level_code = '30' OR gallery = 'flagged')"
"""Who is flagged; where the settings name further codes, the service adds those persons when it starts."""


def upgrade() -> None:
    """Apply."""
    op.create_table('person_flag_events',
    sa.Column('id', BIG_KEY, autoincrement=True, nullable=False),
    sa.Column('person_id', sa.String(length=64), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('region', sa.String(length=6), nullable=False),
    sa.Column('month', sa.String(length=7), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('case_id', sa.Uuid(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_person_flag_events')),
    sqlite_autoincrement=True
    )
    op.create_table('register_entries',
    sa.Column('person_id', sa.String(length=64), nullable=False),
    sa.Column('division_code', sa.String(length=12), nullable=False),
    sa.Column('flagged_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('left_as', sa.String(length=16), nullable=True),
    sa.Column('left_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('visited_on', sa.Date(), nullable=True),
    sa.Column('next_visit_on', sa.Date(), nullable=True),
    sa.PrimaryKeyConstraint('person_id', name=op.f('pk_register_entries'))
    )
    op.create_table('visits',
    sa.Column('id', BIG_KEY, autoincrement=True, nullable=False),
    sa.Column('person_id', sa.String(length=64), nullable=False),
    sa.Column('visited_on', sa.Date(), nullable=False),
    sa.Column('place', sa.String(length=200), nullable=False),
    sa.Column('visitors', sa.String(length=200), nullable=False),
    sa.Column('found', sa.String(length=2000), nullable=False),
    sa.Column('next_visit_on', sa.Date(), nullable=True),
    sa.Column('corrects_id', BIG_KEY, nullable=True),
    sa.Column('correction_reason', sa.String(length=500), nullable=True),
    sa.Column('officer_id', sa.Uuid(), nullable=False),
    sa.Column('recorded_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['corrects_id'], ['visits.id'], name=op.f('fk_visits_corrects_id_visits')),
    sa.ForeignKeyConstraint(['officer_id'], ['officers.id'], name=op.f('fk_visits_officer_id_officers')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_visits')),
    sa.UniqueConstraint('corrects_id', name=op.f('uq_visits_corrects_id')),
    sqlite_autoincrement=True
    )
    op.create_index('ix_visits_person_id', 'visits', ['person_id'])
    op.create_table('closed_months',
    sa.Column('month', sa.String(length=7), nullable=False),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('closed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('closed_by', sa.String(length=64), nullable=False),
    sa.Column('reason', sa.String(length=500), nullable=True),
    sa.PrimaryKeyConstraint('month', 'version', name=op.f('pk_closed_months'))
    )
    op.create_table('closed_month_rows',
    sa.Column('month', sa.String(length=7), nullable=False),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('level', sa.String(length=16), nullable=False),
    sa.Column('region', sa.String(length=6), nullable=False),
    sa.Column('figures', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['month', 'version'], ['closed_months.month', 'closed_months.version'],
                            name=op.f('fk_closed_month_rows_month_closed_months')),
    sa.PrimaryKeyConstraint('month', 'version', 'level', 'region', name=op.f('pk_closed_month_rows'))
    )
    op.create_index('ix_closed_month_rows_region', 'closed_month_rows', ['level', 'region', 'month'])
    op.add_column('checks', sa.Column('region', sa.String(length=6), server_default='', nullable=False))
    _fill()
    # After the rows, so that filling a large database stays quick.
    op.create_index('ix_person_flag_events_counting', 'person_flag_events', ['month', 'region', 'kind'])
    op.create_index('ix_person_flag_events_person', 'person_flag_events', ['person_id', 'month', 'kind'])
    op.create_index('ix_person_flag_events_kind', 'person_flag_events', ['kind', 'person_id', 'month', 'region'])
    op.create_index('ix_register_entries_list', 'register_entries',
                    ['division_code', 'person_id', 'left_as', 'next_visit_on'])
    op.create_index('ix_checks_counting', 'checks', ['outcome', 'region', 'created_at', 'person_id'])


def _fill() -> None:
    """Begin the record with what is known: who is registered and flagged now, since their row was made."""
    month = BEIJING_MONTH[op.get_bind().dialect.name]
    region = "substr(coalesce(division_code, ''), 1, 6)"
    events = 'INSERT INTO person_flag_events (person_id, kind, region, month, at)'
    op.execute(f"{events} SELECT person_id, 'registered', {region}, {month}, created_at FROM persons "
               "WHERE category IS NOT NULL ORDER BY key")
    op.execute(f"{events} SELECT person_id, 'flagged', {region}, {month}, created_at FROM persons "
               f"WHERE {FLAGGED} ORDER BY key")
    op.execute('INSERT INTO register_entries (person_id, division_code, flagged_at, changed_at) '
               "SELECT person_id, coalesce(division_code, ''), created_at, created_at FROM persons "
               f'WHERE {FLAGGED}')
    op.execute('UPDATE checks SET region = substr(coalesce((SELECT division_code FROM persons '
               'WHERE persons.person_id = checks.person_id), authority), 1, 6)')


def downgrade() -> None:
    """Take back."""
    op.drop_index('ix_checks_counting', 'checks')
    op.drop_column('checks', 'region')
    for table in ('closed_month_rows', 'closed_months', 'visits', 'register_entries', 'person_flag_events'):
        op.drop_table(table)
