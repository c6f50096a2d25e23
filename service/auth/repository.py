"""Queries for accounts and keys."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.tables import Client, Credential, Officer, PageSession


def credential(session: Session, key_id: str) -> Credential | None:
    """Find a credential by its public part."""
    return session.get(Credential, key_id)


def client_by_name(session: Session, name: str) -> Client | None:
    """Find a client by its unique name."""
    return session.scalar(select(Client).where(Client.name == name))


def client_by_certificate(session: Session, subject: str) -> Client | None:
    """Find the client that a certificate's subject was registered for."""
    return session.scalar(select(Client).where(Client.certificate == subject))


def credentials_of(session: Session, client_id: UUID) -> Sequence[Credential]:
    """Return every key of a client, the oldest first."""
    query = select(Credential).where(Credential.client_id == client_id)
    return session.scalars(query.order_by(Credential.created_at, Credential.key_id)).all()


def officer_by_external_id(session: Session, external_id: str) -> Officer | None:
    """Find an officer by who they are at the provider of single sign-on."""
    return session.scalar(select(Officer).where(Officer.external_id == external_id))


def officer_by_login(session: Session, login: str) -> Officer | None:
    """Find an officer by their unique login."""
    return session.scalar(select(Officer).where(Officer.login == login))


def delete_ended_sessions(session: Session, *, at: datetime) -> None:
    """Remove the page sessions that have ended by a time."""
    session.execute(delete(PageSession).where(PageSession.expires_at <= at))
