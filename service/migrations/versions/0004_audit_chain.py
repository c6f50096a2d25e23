"""the chain of audit events.

Revision: 0004
Follows: 0003
"""

import sqlalchemy as sa
from alembic import op

import service.tables

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; events that are there already are chained at the next start, which has the key."""
    with op.batch_alter_table('audit_events', schema=None) as batch_op:
        batch_op.add_column(sa.Column('role', sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column('division_code', sa.String(length=12), nullable=True))
        batch_op.add_column(sa.Column('key_tag', sa.String(length=24), nullable=True))
        batch_op.add_column(sa.Column('previous_mac', sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column('mac', sa.String(length=64), nullable=True))
        batch_op.create_index('ix_audit_events_kind', ['kind', 'id'], unique=False)
        batch_op.create_index('ix_audit_events_actor', ['actor', 'id'], unique=False)
        batch_op.create_index(batch_op.f('ix_audit_events_purpose'), ['purpose'], unique=False)
    heads = op.create_table('audit_heads',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('chain_id', sa.String(length=32), nullable=True),
    sa.Column('sequence', sa.BigInteger(), nullable=False),
    sa.Column('mac', sa.String(length=64), nullable=True),
    sa.Column('key_tag', sa.String(length=24), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_heads'))
    )
    op.bulk_insert(heads, [{'id': 1, 'sequence': 0}])
    op.create_table('audit_archives',
    sa.Column('last', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('first', sa.BigInteger(), nullable=False),
    sa.Column('previous_mac', sa.String(length=64), nullable=False),
    sa.Column('last_mac', sa.String(length=64), nullable=False),
    sa.Column('file', sa.String(length=255), nullable=False),
    sa.Column('file_sha256', sa.String(length=64), nullable=False),
    sa.Column('archived_at', service.tables.base.UtcDateTime(timezone=True), nullable=False),
    sa.Column('key_tag', sa.String(length=24), nullable=False),
    sa.Column('next_key_tag', sa.String(length=24), nullable=False),
    sa.Column('mac', sa.String(length=64), nullable=False),
    sa.PrimaryKeyConstraint('last', name=op.f('pk_audit_archives'))
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table('audit_archives')
    op.drop_table('audit_heads')
    with op.batch_alter_table('audit_events', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_audit_events_purpose'))
        batch_op.drop_index('ix_audit_events_actor')
        batch_op.drop_index('ix_audit_events_kind')
        for name in ('mac', 'previous_mac', 'key_tag', 'division_code', 'role'):
            batch_op.drop_column(name)
