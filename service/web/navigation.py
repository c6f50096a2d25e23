"""The pages that stand in every page's head, by role."""

from collections.abc import Iterator
from dataclasses import dataclass

from service.auth.service import Role


@dataclass(frozen=True, slots=True)
class Destination:
    """A page that the head leads to.

    Attributes:
        address: Its path.
        key: Its name is `navigation.<key>` in the catalogues.
        roles: Who is led there.
    """

    address: str
    key: str
    roles: frozenset[Role]


DESTINATIONS = (
    Destination("/", "queue", frozenset({Role.OFFICER, Role.SUPERVISOR})),
    Destination("/notices", "notices", frozenset({Role.OFFICER, Role.SUPERVISOR, Role.OPERATOR})),
    Destination("/register", "register", frozenset({Role.OFFICER, Role.SUPERVISOR})),
    Destination("/statistics", "statistics", frozenset(Role)),
    Destination("/audit", "audit", frozenset({Role.AUDITOR})),
)


def destinations(role: Role | None) -> Iterator[Destination]:
    """Return the pages that a role is led to, in order."""
    return (destination for destination in DESTINATIONS if role in destination.roles)


def is_current(destination: Destination, path: str) -> bool:
    """Tell whether a path lies under a destination; the queue is only itself."""
    if destination.address == "/":
        return path == "/"
    return path == destination.address or path.startswith(destination.address + "/")
