"""passwords, second factors and sign-ins from elsewhere.

Browsers that are signed in have to sign in again: their sessions lack what is now asked of a session.
No table that others refer to is rebuilt, so nothing can cascade on SQLite.

Revision: 0003
Follows: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.add_column('clients', sa.Column('certificate', sa.String(length=255), nullable=True))
    op.create_index(op.f('ix_clients_certificate'), 'clients', ['certificate'], unique=True)
    op.add_column('officers', sa.Column('external_id', sa.String(length=512), nullable=True))
    op.create_index(op.f('ix_officers_external_id'), 'officers', ['external_id'], unique=True)
    op.add_column('credentials', sa.Column('last_used_at', AT, nullable=True))
    _page_sessions()
    op.create_table(
        'local_accounts',
        sa.Column('officer_id', sa.Uuid(), nullable=False),
        sa.Column('password_hash', sa.String(length=200), nullable=True),
        sa.Column('password_set_at', AT, nullable=True),
        sa.Column('setup_hash', sa.String(length=64), nullable=True),
        sa.Column('setup_expires_at', AT, nullable=True),
        sa.Column('totp_secret', sa.LargeBinary(), nullable=True),
        sa.Column('totp_set_at', AT, nullable=True),
        sa.Column('totp_step', sa.BigInteger(), nullable=False),
        sa.Column('failures', sa.Integer(), nullable=False),
        sa.Column('blocked_until', AT, nullable=True),
        _of_an_officer('local_accounts'),
        sa.PrimaryKeyConstraint('officer_id', name=op.f('pk_local_accounts')),
    )
    op.create_table(
        'recovery_codes',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('officer_id', sa.Uuid(), nullable=False),
        sa.Column('code_hash', sa.String(length=64), nullable=False),
        sa.Column('used_at', AT, nullable=True),
        _of_an_officer('recovery_codes'),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_recovery_codes')),
    )
    op.create_index(op.f('ix_recovery_codes_officer_id'), 'recovery_codes', ['officer_id'])
    op.create_table(
        'known_browsers',
        sa.Column('token_hash', sa.String(length=64), nullable=False),
        sa.Column('officer_id', sa.Uuid(), nullable=False),
        sa.Column('failures', sa.Integer(), nullable=False),
        sa.Column('blocked_until', AT, nullable=True),
        sa.Column('created_at', AT, nullable=False),
        sa.Column('expires_at', AT, nullable=False),
        _of_an_officer('known_browsers'),
        sa.PrimaryKeyConstraint('token_hash', name=op.f('pk_known_browsers')),
    )
    op.create_index(op.f('ix_known_browsers_officer_id'), 'known_browsers', ['officer_id'])


def _page_sessions() -> None:
    op.drop_table('page_sessions')
    op.create_table(
        'page_sessions',
        sa.Column('token_hash', sa.String(length=64), nullable=False),
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('officer_id', sa.Uuid(), nullable=False),
        sa.Column('stage', sa.String(length=16), nullable=False),
        sa.Column('method', sa.String(length=16), nullable=False),
        sa.Column('address', sa.String(length=64), nullable=False),
        sa.Column('failures', sa.Integer(), nullable=False),
        sa.Column('csrf_token', sa.String(length=64), nullable=False),
        sa.Column('created_at', AT, nullable=False),
        sa.Column('last_seen_at', AT, nullable=False),
        sa.Column('expires_at', AT, nullable=False),
        _of_an_officer('page_sessions'),
        sa.PrimaryKeyConstraint('token_hash', name=op.f('pk_page_sessions')),
        sa.UniqueConstraint('id', name=op.f('uq_page_sessions_id')),
    )
    op.create_index(op.f('ix_page_sessions_officer_id'), 'page_sessions', ['officer_id'])


def _of_an_officer(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ['officer_id'], ['officers.id'], name=op.f(f'fk_{table}_officer_id_officers'), ondelete='CASCADE'
    )


def downgrade() -> None:
    """Take back."""
    for table in ('known_browsers', 'recovery_codes', 'local_accounts', 'page_sessions'):
        op.drop_table(table)
    op.create_table(
        'page_sessions',
        sa.Column('token_hash', sa.String(length=64), nullable=False),
        sa.Column('officer_id', sa.Uuid(), nullable=False),
        sa.Column('csrf_token', sa.String(length=64), nullable=False),
        sa.Column('created_at', AT, nullable=False),
        sa.Column('expires_at', AT, nullable=False),
        _of_an_officer('page_sessions'),
        sa.PrimaryKeyConstraint('token_hash', name=op.f('pk_page_sessions')),
    )
    op.drop_column('credentials', 'last_used_at')
    op.drop_index(op.f('ix_officers_external_id'), table_name='officers')
    op.drop_column('officers', 'external_id')
    op.drop_index(op.f('ix_clients_certificate'), table_name='clients')
    op.drop_column('clients', 'certificate')
