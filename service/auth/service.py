"""Who calls: keys are looked up by their public part and compared by hash."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy.orm import Session

from service.auth import repository
from service.errors import ForbiddenError, InvalidRequestError, UnauthenticatedError
from service.tables import Client, Credential, Officer, now

KEY_PREFIX = "op"
KEY_BYTES = 32
"""256 random bits: a plain SHA-256 cannot be searched backwards, so a check costs microseconds."""


class Scope(StrEnum):
    """What a client's key may be used for."""

    PERSONS = "persons"
    CHECKS = "checks"
    NOTICES = "notices"
    STATISTICS = "statistics"


class Role(StrEnum):
    """What an officer's account is for."""

    OFFICER = "officer"
    SUPERVISOR = "supervisor"
    OPERATOR = "operator"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a client with scopes, or an officer with a role and a division.

    Attributes:
        kind: `client`, `officer` or `system`.
        id: Stable identifier of the account.
        name: The client's name or the officer's login, for the audit trail.
        scopes: Of a client.
        role: Of an officer.
        division_code: Of an officer: where the cases that they may see belong.
    """

    kind: str
    id: UUID | None
    name: str
    scopes: frozenset[str] = frozenset()
    role: Role | None = None
    division_code: str | None = None

    def require_scope(self, scope: Scope) -> None:
        """Let clients with this scope pass.

        Raises:
            ForbiddenError: Not a client, or its key lacks the scope.
        """
        if self.kind != "client" or scope not in self.scopes:
            raise ForbiddenError(f"This needs a client key with the scope '{scope}'.")

    def require_role(self, *roles: Role) -> None:
        """Let officers with one of these roles pass.

        Raises:
            ForbiddenError: Not an officer, or another role.
        """
        if self.kind != "officer" or self.role not in roles:
            raise ForbiddenError(f"This needs the role {' or '.join(roles)}.")


SYSTEM = Actor(kind="system", id=None, name="system")
"""Acts when a command or a timer does."""


def division_prefix(code: str) -> str:
    """Return the part of a division code that its subordinate codes share.

    530000 gives 53 (province), 530100 gives 5301 (prefecture), 530102 stays. Source: GB/T 2260,
    two digits a level, filled with zeros; anything longer than six digits (a police station) stays whole.
    """
    if len(code) != 6:
        return code
    return code[:2] if code.endswith("0000") else code[:4] if code.endswith("00") else code


def in_division(actor: Actor, division_code: str) -> bool:
    """Tell whether something of this division is the officer's to see.

    Where it is not, raise `ForeignDivisionError`: answered like what does not exist, but put on record.
    """
    return actor.division_code is not None and division_code.startswith(division_prefix(actor.division_code))


def add_client(
    session: Session,
    name: str,
    *,
    scopes: frozenset[Scope],
    expires_at: datetime | None = None,
    certificate: str | None = None,
) -> tuple[Client, str]:
    """Create a client; the key is returned once and stored only as a hash.

    Raises:
        InvalidRequestError: The name or the certificate is taken.
    """
    if repository.client_by_name(session, name) is not None:
        raise InvalidRequestError(f"A client named '{name}' exists; choose another name.")
    if certificate is not None and repository.client_by_certificate(session, certificate) is not None:
        raise InvalidRequestError("Another client has this certificate; see 'oneperson client list'.")
    client = Client(name=name, scopes=sorted(scopes), certificate=certificate)
    session.add(client)
    session.flush()
    return client, issue_key(session, expires_at, client_id=client.id)


def add_account(session: Session, login: str, *, name: str, role: Role, division_code: str) -> Officer:
    """Create an officer's account, which nothing opens yet.

    Raises:
        InvalidRequestError: The login is taken.
    """
    if repository.officer_by_login(session, login) is not None:
        raise InvalidRequestError(
            f"An officer with the login '{login}' exists; choose another, or see 'oneperson officer list'."
        )
    officer = Officer(login=login, name=name, role=role, division_code=division_code)
    session.add(officer)
    session.flush()
    return officer


def add_officer(
    session: Session,
    login: str,
    *,
    name: str,
    role: Role,
    division_code: str,
    expires_at: datetime | None = None,
) -> tuple[Officer, str]:
    """Create an officer's account with an access key for tools, returned once and stored only as a hash.

    Raises:
        InvalidRequestError: The login is taken.
    """
    officer = add_account(session, login, name=name, role=role, division_code=division_code)
    return officer, issue_key(session, expires_at, officer_id=officer.id)


def issue_key(
    session: Session,
    expires_at: datetime | None,
    *,
    client_id: UUID | None = None,
    officer_id: UUID | None = None,
) -> str:
    """Make one more key of a client or an officer; it is returned once and stored only as a hash."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(KEY_BYTES)
    session.add(
        Credential(
            key_id=key_id,
            key_hash=hash_secret(secret),
            client_id=client_id,
            officer_id=officer_id,
            expires_at=expires_at,
        )
    )
    session.flush()
    return f"{KEY_PREFIX}_{key_id}_{secret}"


def hash_secret(secret: str) -> str:
    """Return the SHA-256 of a random secret, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def authenticate(session: Session, key: str) -> Actor:
    """Find whose key this is.

    Args:
        session: A transaction to look in.
        key: `op_<key id>_<secret>` as it was issued.

    Raises:
        UnauthenticatedError: Unknown, wrong, expired or revoked; the answer does not say which.
    """
    prefix, _, rest = key.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != KEY_PREFIX or not secret:
        raise UnauthenticatedError("The key is not valid.")
    credential = repository.credential(session, key_id)
    stored = credential.key_hash if credential is not None else hash_secret("")
    matches = hmac.compare_digest(stored, hash_secret(secret))
    if credential is None or not matches or not _is_current(credential):
        raise UnauthenticatedError("The key is not valid.")
    return _actor(session, credential)


def key_id_of(key: str) -> str:
    """Return the public part of a key."""
    return key.split("_", 2)[1]


def client_by_certificate(session: Session, subject: str) -> Actor:
    """Find the client that a certificate was registered for.

    Raises:
        UnauthenticatedError: No client's, or one whose keys have all been revoked.
    """
    client = repository.client_by_certificate(session, subject)
    if client is None or not any(map(_is_current, repository.credentials_of(session, client.id))):
        raise UnauthenticatedError("The certificate is not registered for a client.")
    return Actor(kind="client", id=client.id, name=client.name, scopes=frozenset(client.scopes))


def _is_current(credential: Credential) -> bool:
    if credential.revoked_at is not None:
        return False
    return credential.expires_at is None or credential.expires_at > now()


def _actor(session: Session, credential: Credential) -> Actor:
    if credential.client_id is not None:
        client = session.get_one(Client, credential.client_id)
        return Actor(kind="client", id=client.id, name=client.name, scopes=frozenset(client.scopes))
    return actor_of(session.get_one(Officer, credential.officer_id))


def actor_of(officer: Officer) -> Actor:
    """Return the actor that an officer's account stands for.

    Raises:
        UnauthenticatedError: The account is disabled.
    """
    if officer.disabled_at is not None:
        raise UnauthenticatedError("The key is not valid.")
    return Actor(
        kind="officer",
        id=officer.id,
        name=officer.login,
        role=Role(officer.role),
        division_code=officer.division_code,
    )
