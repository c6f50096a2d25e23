"""`/v1/persons`: registrations as the population system keeps them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status

from service.auth.service import Actor, Scope
from service.dependencies import Caller, Transaction
from service.errors import (
    BodyTooLargeError,
    DatabaseUnavailableError,
    ForbiddenError,
    InadmissiblePortraitError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    RegistrationChangedError,
    SearchTimeoutError,
    StorageUnavailableError,
    UnauthenticatedError,
)
from service.persons.enrolment import PortraitFile
from service.persons.schemas import PersonAnswer, PersonId, PersonRequest, PersonStored, RegistrationFields
from service.persons.service import Persons
from service.portrait_input import decode_base64
from service.problems import responses_for

COMMON = (UnauthenticatedError, ForbiddenError, InvalidRequestError, DatabaseUnavailableError)

router = APIRouter(prefix="/v1/persons", tags=["persons"])


async def persons(request: Request) -> Persons:
    """Return the service over the application's collaborators."""
    state = request.app.state
    return Persons(
        database=state.database, engine=state.engine, store=state.portrait_store, settings=state.settings
    )


async def persons_client(caller: Caller) -> Actor:
    """Let clients with the scope `persons` pass."""
    caller.require_scope(Scope.PERSONS)
    return caller


Service = Annotated[Persons, Depends(persons)]
Client = Annotated[Actor, Depends(persons_client)]


@router.put(
    "/{person_id}",
    summary="Store a registration and enrol its portraits",
    responses=responses_for(
        *COMMON,
        InadmissiblePortraitError,
        RegistrationChangedError,
        BodyTooLargeError,
        OverloadedError,
        SearchTimeoutError,
        StorageUnavailableError,
    )
    | {201: {"model": PersonStored, "description": "The registration is new."}},
)
def put_person(
    person_id: PersonId, body: PersonRequest, response: Response, actor: Client, service: Service
) -> PersonStored:
    """Upsert a registration: its fields, and its portraits where given, replace all that was stored.

    A person whose level code is flagged is enrolled; when no portrait can be enrolled the request is
    answered with 422 and nothing is changed. Without any portrait the registration is stored and the
    enrolment is `refused`.
    """
    files = None
    if body.portraits is not None:
        files = [
            PortraitFile(decode_base64(item.image, f"portraits[{at}].image"), item.taken_on)
            for at, item in enumerate(body.portraits)
        ]
    fields = RegistrationFields(**{name: getattr(body, name) for name in RegistrationFields.model_fields})
    stored = service.store(person_id, fields, files, actor=actor)
    response.status_code = status.HTTP_201_CREATED if stored.created else status.HTTP_200_OK
    return stored


@router.get("/{person_id}", summary="Read a registration", responses=responses_for(*COMMON, NotFoundError))
def get_person(person_id: PersonId, actor: Client, service: Service, session: Transaction) -> PersonAnswer:
    """Read a registration and its enrolled portraits' data; the pictures themselves are not given out."""
    return service.read(session, person_id, actor=actor)


@router.delete(
    "/{person_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Erase a cancelled registration",
    responses=responses_for(*COMMON, NotFoundError, StorageUnavailableError),
)
def delete_person(person_id: PersonId, actor: Client, service: Service) -> None:
    """Erase a cancelled registration; its portraits and templates are gone when the answer comes."""
    service.erase(person_id, actor=actor)
