"""Officers whom the provider of single sign-on vouches for: whose account, with which role and division."""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth import backoff, repository
from service.auth.backoff import Visit
from service.auth.oidc import ProviderRefusedError
from service.auth.service import SYSTEM, Role, add_account
from service.auth.sessions import Opening, SignInMethod, SignInStage, start_session
from service.auth.signing_in import Opened
from service.settings import Settings
from service.tables import Officer

LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DIVISION = re.compile(r"[0-9]{6,12}")

HIGHEST_FIRST = (Role.SUPERVISOR, Role.OFFICER, Role.AUDITOR, Role.OPERATOR)
"""Of several roles that a person's groups give, the first of these is taken."""


def sign_in(session: Session, claims: Mapping[str, Any], visit: Visit, *, settings: Settings) -> Opened:
    """Begin a session for whoever the provider vouches for; a second factor is the provider's to ask for.

    An account is bound to the provider's subject at the first sign-in: another subject with the same login is
    refused from then on.

    Args:
        session: A transaction.
        claims: Verified, see `oidc.Provider.identity`.
        visit: Where from.
        settings: How claims are understood.

    Raises:
        ProviderRefusedError: No account, no role or division in the claims, or another's login.
        UnauthenticatedError: The account is disabled.
    """
    subject = f"{claims['iss']}#{claims['sub']}"[:512]
    login = str(claims.get(settings.oidc_login_claim, ""))
    role, division = _role(claims, settings), _division(claims, settings)
    officer = repository.officer_by_external_id(session, subject) or repository.officer_by_login(
        session, login
    )
    if officer is None:
        officer = _provisioned(session, login, _name(claims, login), role, division, settings=settings)
    if officer.external_id is None:
        officer.external_id = subject
    if officer.external_id != subject:
        raise ProviderRefusedError("another-subject")
    _follow(session, officer, role, division)
    opening = Opening(SignInStage.FULL, SignInMethod.OIDC, visit.address)
    token = start_session(session, officer, hours=settings.session_hours, opening=opening)
    return Opened(token, backoff.remember_browser(session, officer.id, visit), SignInStage.FULL)


def _provisioned(
    session: Session, login: str, name: str, role: Role | None, division: str | None, *, settings: Settings
) -> Officer:
    if not settings.oidc_provision:
        raise ProviderRefusedError("no-account")
    if role is None or division is None or LOGIN.fullmatch(login) is None:
        raise ProviderRefusedError("claims")
    officer = add_account(session, login, name=name, role=role, division_code=division)
    record(
        session,
        AuditKind.OFFICER_ADDED,
        actor=SYSTEM,
        subject=f"officer:{login}",
        result="provisioned",
        role=role,
        division_code=division,
    )
    return officer


def _follow(session: Session, officer: Officer, role: Role | None, division: str | None) -> None:
    """Let the account follow the provider, where it tells role and division."""
    wanted = {"role": role or officer.role, "division_code": division or officer.division_code}
    if wanted == {"role": officer.role, "division_code": officer.division_code}:
        return
    officer.role, officer.division_code = wanted["role"], wanted["division_code"]
    record(session, AuditKind.OFFICER_CHANGED, actor=SYSTEM, subject=f"officer:{officer.login}", **wanted)


def _role(claims: Mapping[str, Any], settings: Settings) -> Role | None:
    """Return the role that the claims give, None if roles are kept here.

    Raises:
        ProviderRefusedError: The claims should give one and do not.
    """
    if settings.oidc_role_claim is None:
        return None
    told = claims.get(settings.oidc_role_claim, [])
    values = [str(one) for one in told] if isinstance(told, list) else [str(told)]
    given = {Role(settings.oidc_roles[value]) for value in values if value in settings.oidc_roles}
    for role in HIGHEST_FIRST:
        if role in given:
            return role
    raise ProviderRefusedError("no-role")


def _division(claims: Mapping[str, Any], settings: Settings) -> str | None:
    if settings.oidc_division_claim is None:
        return None
    told = str(claims.get(settings.oidc_division_claim, ""))
    if DIVISION.fullmatch(told) is None:
        raise ProviderRefusedError("no-division")
    return told


def _name(claims: Mapping[str, Any], login: str) -> str:
    return str(claims.get("name") or login).strip()[:50]
