"""Queries for accounts and keys."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.tables import Client, Credential, Officer


def credential(session: Session, key_id: str) -> Credential | None:
    """Find a credential by its public part."""
    return session.get(Credential, key_id)


def client_by_name(session: Session, name: str) -> Client | None:
    """Find a client by its unique name."""
    return session.scalar(select(Client).where(Client.name == name))


def officer_by_login(session: Session, login: str) -> Officer | None:
    """Find an officer by their unique login."""
    return session.scalar(select(Officer).where(Officer.login == login))
