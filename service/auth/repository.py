"""Queries for accounts and keys."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.tables import Client, Credential, Officer, PageSession


def credential(session: Session, key_id: str) -> Credential | None:
    """Find a credential by its public part."""
    return session.get(Credential, key_id)


def client_by_name(session: Session, name: str) -> Client | None:
    """Find a client by its unique name."""
    return session.scalar(select(Client).where(Client.name == name))


def officer_by_login(session: Session, login: str) -> Officer | None:
    """Find an officer by their unique login."""
    return session.scalar(select(Officer).where(Officer.login == login))


def delete_ended_sessions(session: Session, *, at: datetime) -> None:
    """Remove the page sessions that have ended by a time."""
    session.execute(delete(PageSession).where(PageSession.expires_at <= at))
