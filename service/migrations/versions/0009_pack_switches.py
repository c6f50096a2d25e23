"""which pack and generations running services take over.

Revision: 0009
Follows: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    """Apply."""
    op.create_table('pack_switches',
    sa.Column('id', BIG_KEY, autoincrement=True, nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('configured', sa.String(length=1024), nullable=False),
    sa.Column('pack', sa.String(length=1024), nullable=False),
    sa.Column('contract_id', sa.String(length=64), nullable=False),
    sa.Column('pack_before', sa.String(length=1024), nullable=False),
    sa.Column('contract_before', sa.String(length=64), nullable=False),
    sa.Column('undoes', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_pack_switches')),
    sqlite_autoincrement=True
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table('pack_switches')
