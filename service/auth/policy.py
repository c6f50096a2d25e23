"""Who may do what: one row for every address, and nothing is reached that has no row.

To add an address, add one row below: method and path exactly as the route declares them
(`"GET /cases/{case_id:uuid}"`), and who may. `service.gate` asks this table before a request's body is
read, so endpoints need no check of their own; `tests/service/auth/test_role_table.py` then tries the row with
every role and a foreign division, and fails for an address without a row and for a row without an address.

    "GET /v1/…": clients(Scope.PERSONS)            a client's key with this scope
    "GET /v1/…": keys(*CASE_ROLES)                 an officer's access key, for their tools
    "GET /…":    pages(*CASE_ROLES)                a signed-in browser
    …            .divided()                        what it shows belongs to a division: the service asks
                                                   `in_division`, and the test sends a foreign officer

Roles of those who see portraits, names or cases are `CASE_ROLES`; operators and auditors never do.
"""

from dataclasses import dataclass, field, replace
from enum import Enum

from service.auth.service import Actor, Role, Scope
from service.auth.sessions import SignInStage
from service.errors import ForbiddenError


class Proof(Enum):
    """What a request has to come with."""

    NONE = "none"
    KEY = "key"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may use one address.

    Attributes:
        proof: What a request has to come with.
        scopes: Clients whose key has one of these may.
        roles: Officers with one of these may.
        stages: How far a page session has to have come.
        is_divided: Whether it shows what belongs to a division.
    """

    proof: Proof
    scopes: frozenset[Scope] = frozenset()
    roles: frozenset[Role] = frozenset()
    stages: frozenset[SignInStage] = field(default=frozenset({SignInStage.FULL}))
    is_divided: bool = False

    def divided(self) -> "Rule":
        """Return the same for an address that shows what belongs to a division."""
        return replace(self, is_divided=True)

    def admit(self, actor: Actor) -> None:
        """Let whoever may pass.

        Raises:
            ForbiddenError: Somebody else.
        """
        if actor.kind == "client" and self.scopes & actor.scopes:
            return
        if actor.kind == "officer" and actor.role in self.roles:
            return
        if self.scopes and not self.roles:
            raise ForbiddenError(f"This needs a client key with the scope {_named(self.scopes)}.")
        if self.roles and not self.scopes:
            raise ForbiddenError(f"This needs the role {_named(self.roles)}.")
        raise ForbiddenError("This needs another scope or role.")


def clients(*scopes: Scope) -> Rule:
    """Let clients with one of these scopes in."""
    return Rule(Proof.KEY, scopes=frozenset(scopes))


def keys(*roles: Role, scopes: frozenset[Scope] = frozenset()) -> Rule:
    """Let officers' tools in, by access key; with `scopes` clients as well."""
    return Rule(Proof.KEY, roles=frozenset(roles), scopes=scopes)


def pages(*roles: Role) -> Rule:
    """Let signed-in browsers in."""
    return Rule(Proof.SESSION, roles=frozenset(roles))


CASE_ROLES = (Role.OFFICER, Role.SUPERVISOR)
NOTICE_ROLES = (*CASE_ROLES, Role.OPERATOR)
SENDER_ROLES = (Role.SUPERVISOR, Role.OPERATOR)
ANYBODY = Rule(Proof.NONE)
EVERY_ROLE = pages(*Role)
SETTING_UP = replace(EVERY_ROLE, stages=frozenset({SignInStage.FULL, SignInStage.SET_UP}))

POLICY: dict[str, Rule] = {
    # Registrations.
    "PUT /v1/persons/{person_id}": clients(Scope.PERSONS),
    "GET /v1/persons/{person_id}": clients(Scope.PERSONS),
    "DELETE /v1/persons/{person_id}": clients(Scope.PERSONS),
    # Checks.
    "POST /v1/checks": clients(Scope.CHECKS),
    "GET /v1/checks": clients(Scope.CHECKS),
    "GET /v1/checks/{check_id}": clients(Scope.CHECKS),
    "POST /v1/checks/{check_id}/withdraw": clients(Scope.CHECKS),
    # Notices.
    "GET /v1/notices": clients(Scope.NOTICES),
    "GET /v1/notices/{notice_id}": clients(Scope.NOTICES),
    "POST /v1/notices/{notice_id}/acknowledgement": clients(Scope.NOTICES),
    "GET /notices": pages(*NOTICE_ROLES),
    "GET /notices/{notice_id:uuid}": pages(*NOTICE_ROLES).divided(),
    "GET /notices/{notice_id:uuid}/letter.pdf": pages(*CASE_ROLES).divided(),
    "POST /notices/{notice_id:uuid}/acknowledgement": pages(*CASE_ROLES).divided(),
    "POST /notices/{notice_id:uuid}/deliveries/{delivery_id:int}/resend": pages(*SENDER_ROLES).divided(),
    "POST /notices/{notice_id:uuid}/deliveries/{delivery_id:int}/release": pages(*SENDER_ROLES).divided(),
    # The register of doubtful persons.
    "GET /register": pages(*CASE_ROLES),
    "POST /register": pages(*CASE_ROLES),
    "POST /register/export": pages(*CASE_ROLES),
    "GET /register/{person_id}": pages(*CASE_ROLES).divided(),
    "POST /register/{person_id}/number": pages(*CASE_ROLES).divided(),
    "POST /register/{person_id}/visits": pages(*CASE_ROLES).divided(),
    # Figures.
    "GET /v1/statistics/monthly": keys(*Role, scopes=frozenset({Scope.STATISTICS})),
    "GET /statistics": EVERY_ROLE,
    "GET /statistics/file": EVERY_ROLE,
    "POST /statistics/close": pages(*SENDER_ROLES),
    # Cases, over the API.
    "GET /v1/cases": keys(*CASE_ROLES),
    "GET /v1/cases/{case_id}": keys(*CASE_ROLES).divided(),
    "POST /v1/cases/{case_id}/claim": keys(*CASE_ROLES).divided(),
    "POST /v1/cases/{case_id}/release": keys(*CASE_ROLES).divided(),
    "POST /v1/cases/{case_id}/decisions": keys(*CASE_ROLES).divided(),
    "POST /v1/cases/{case_id}/confirmation": keys(*CASE_ROLES).divided(),
    "POST /v1/cases/{case_id}/reopen": keys(Role.SUPERVISOR).divided(),
    "POST /v1/cases/next": keys(*CASE_ROLES),
    "POST /v1/cases/{case_id}/appeals": keys(*CASE_ROLES).divided(),
    "POST /v1/cases/{case_id}/appeals/{appeal_id}/dismissal": keys(Role.SUPERVISOR).divided(),
    "POST /v1/cases/{case_id}/attachments": keys(*CASE_ROLES).divided(),
    "GET /v1/cases/{case_id}/attachments/{attachment_id}": keys(*CASE_ROLES).divided(),
    "DELETE /v1/cases/{case_id}/attachments/{attachment_id}": keys(*CASE_ROLES).divided(),
    # Cases, on the pages.
    "GET /": EVERY_ROLE,
    "GET /queue/lines": pages(*CASE_ROLES),
    "POST /queue/next": pages(*CASE_ROLES),
    "POST /queue/{case_id:uuid}/release": pages(*CASE_ROLES).divided(),
    "GET /cases/{case_id:uuid}": pages(*CASE_ROLES).divided(),
    "POST /cases/{case_id:uuid}/claim": pages(*CASE_ROLES).divided(),
    "POST /cases/{case_id:uuid}/release": pages(*CASE_ROLES).divided(),
    "POST /cases/{case_id:uuid}/decision": pages(*CASE_ROLES).divided(),
    "POST /cases/{case_id:uuid}/draft": pages(*CASE_ROLES).divided(),
    "POST /cases/{case_id:uuid}/draft/discard": pages(*CASE_ROLES).divided(),
    "POST /cases/{case_id:uuid}/appeals": pages(*CASE_ROLES).divided(),
    "POST /cases/{case_id:uuid}/appeals/{appeal_id:uuid}/dismissal": pages(*CASE_ROLES).divided(),
    "GET /cases/{case_id:uuid}/attachments/{attachment_id:uuid}": pages(*CASE_ROLES).divided(),
    "POST /cases/{case_id:uuid}/id-numbers": pages(*CASE_ROLES).divided(),
    "POST /cases/{case_id:uuid}/look": pages(*CASE_ROLES).divided(),
    "POST /cases/{case_id:uuid}/confirmation": pages(*CASE_ROLES).divided(),
    "POST /cases/{case_id:uuid}/reopen": pages(*CASE_ROLES).divided(),
    "GET /cases/{case_id:uuid}/portraits/probe": pages(*CASE_ROLES).divided(),
    "GET /cases/{case_id:uuid}/portraits/{reference_id:int}": pages(*CASE_ROLES).divided(),
    # Signing in, and an officer's own account.
    "GET /sign-in": ANYBODY,
    "POST /sign-in": ANYBODY,
    "GET /sign-in/first": ANYBODY,
    "POST /sign-in/first": ANYBODY,
    "GET /sign-in/code": ANYBODY,
    "POST /sign-in/code": ANYBODY,
    "GET /sign-in/oidc": ANYBODY,
    "GET /sign-in/oidc/callback": ANYBODY,
    "GET /signed-out": ANYBODY,
    "GET /sign-out/oidc": ANYBODY,
    "POST /language": ANYBODY,
    "POST /sign-out": SETTING_UP,
    "GET /account": EVERY_ROLE,
    "POST /account/password": EVERY_ROLE,
    "POST /account/sessions/end": EVERY_ROLE,
    "POST /account/sessions/end-all": EVERY_ROLE,
    "POST /account/second-factor/remove": EVERY_ROLE,
    "POST /account/second-factor/recovery-codes": EVERY_ROLE,
    "GET /account/second-factor": SETTING_UP,
    "POST /account/second-factor": SETTING_UP,
    "GET /account/second-factor/picture.svg": SETTING_UP,
    # The audit log.
    "GET /audit": pages(Role.AUDITOR),
    "GET /audit/events/{number:int}": pages(Role.AUDITOR),
    "POST /audit/export": pages(Role.AUDITOR),
    # Operation: no personal data; let only your own network reach them.
    "GET /healthz": ANYBODY,
    "GET /readyz": ANYBODY,
    "GET /metrics": ANYBODY,
    "GET /docs": ANYBODY,
    "GET /problems/{code}": ANYBODY,
    "GET /openapi.json": ANYBODY,
    "HEAD /openapi.json": ANYBODY,
    "* /docs/ui": ANYBODY,
    "* /static": ANYBODY,
}


def rule_for(method: str, path: str) -> Rule | None:
    """Return the row of an address.

    Args:
        method: HTTP method.
        path: The route's template; below a mounted folder, whose row begins with `*`, the folder's.
    """
    return POLICY.get(f"{method} {path}") or POLICY.get(f"* {folder_of(path)}")


def folder_of(path: str) -> str:
    """Return the folder that a mounted path belongs to: `/static/<digest>` is `/static`."""
    return next(
        (row[2:] for row in POLICY if row.startswith("* ") and f"{path}/".startswith(f"{row[2:]}/")), path
    )


def _named(names: frozenset[Scope] | frozenset[Role]) -> str:
    return " or ".join(f"'{name}'" for name in sorted(names))
