"""What endpoints ask for: a transaction, a consistent view, and who calls."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from service.auth.service import Actor
from service.database import Database
from service.errors import UnauthenticatedError


def database(request: Request) -> Database:
    """Return the application's database."""
    found: Database = request.app.state.database
    return found


def transaction(request: Request) -> Iterator[Session]:
    """One transaction around the endpoint, committed before the answer is sent.

    Always inject it with `scope="function"`: FastAPI's default scope ends after the
    response has gone, so a failed commit would still have said "saved".
    """
    with database(request).write() as session:
        yield session


def view(request: Request) -> Iterator[Session]:
    """One consistent view around the endpoint; changes are dropped."""
    with database(request).read() as session:
        yield session


async def caller(request: Request) -> Actor:
    """Return whose key came with the request, as `service.gate` found before the body was read.

    Raises:
        UnauthenticatedError: The address is not one that the policy table asks a key for.
    """
    found = getattr(request.state, "actor", None)
    if not isinstance(found, Actor):
        raise UnauthenticatedError("Send the key as 'Authorization: Bearer op_…'.")
    return found


Transaction = Annotated[Session, Depends(transaction, scope="function")]
View = Annotated[Session, Depends(view, scope="function")]
Caller = Annotated[Actor, Depends(caller)]
StoredIn = Annotated[Database, Depends(database)]
