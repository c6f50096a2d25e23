"""The errors of the service; each class states its HTTP status and its code."""

from typing import Any, ClassVar


class ServiceError(Exception):
    """Root of what the service raises on purpose.

    Attributes:
        status: HTTP status of the answer.
        code: Slug that a machine may rely on; also the last part of the problem type.
        detail: A sentence with the remedy, free of personal data.
        extensions: Further members of the problem document.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, detail: str, **extensions: Any) -> None:
        """Keep the sentence and the extra members."""
        super().__init__(detail)
        self.detail = detail
        self.extensions = extensions


class SettingsError(Exception):
    """Settings that the service cannot start with."""


class InvalidRequestError(ServiceError):
    """A request that breaks a rule of its fields; `errors` lists field, message and remedy."""

    status = 422
    code = "invalid-request"


class MalformedRequestError(ServiceError):
    """A body or form that is not what its content type says."""

    status = 400
    code = "malformed-request"


class InadmissiblePortraitError(ServiceError):
    """A portrait that cannot be searched or enrolled; `reasons` says why."""

    status = 422
    code = "inadmissible-portrait"


class CheckNotRequiredError(ServiceError):
    """A transaction kind at which no face may be searched."""

    status = 422
    code = "check-not-required"


class BodyTooLargeError(ServiceError):
    """A request body over the limit."""

    status = 413
    code = "body-too-large"


class RequestTimeoutError(ServiceError):
    """The body of a request did not arrive in time."""

    status = 408
    code = "request-timeout"


class NotFoundError(ServiceError):
    """No such thing, or none that the caller may know of."""

    status = 404
    code = "not-found"


class MethodNotAllowedError(ServiceError):
    """The address has no such method."""

    status = 405
    code = "method-not-allowed"


class UnauthenticatedError(ServiceError):
    """No valid key or session came with the request."""

    status = 401
    code = "unauthenticated"


class ForbiddenError(ServiceError):
    """A valid caller without the right to this."""

    status = 403
    code = "forbidden"


class FormExpiredError(ServiceError):
    """A form that another session or another site's page sent."""

    status = 403
    code = "form-expired"


class TransactionConflictError(ServiceError):
    """A transaction id that was used for a different request."""

    status = 409
    code = "transaction-conflict"


class RegistrationChangedError(ServiceError):
    """Another request changed the registration while its portraits were examined."""

    status = 409
    code = "registration-changed"


class CheckSettledError(ServiceError):
    """A check whose decision has been made can no longer be withdrawn."""

    status = 409
    code = "check-settled"


class CaseStateError(ServiceError):
    """The case is not in a state that allows this, or moved on meanwhile."""

    status = 409
    code = "case-state"


class SameOfficerError(ServiceError):
    """The second officer must not be the first."""

    status = 409
    code = "same-officer"


class EvidenceMissingError(ServiceError):
    """`same_person` needs evidence beyond the face."""

    status = 422
    code = "evidence-missing"


class GalleryNotReadyError(ServiceError):
    """No complete, calibrated gallery with the right pack is loaded."""

    status = 503
    code = "gallery-not-ready"


class OverloadedError(ServiceError):
    """Too much work is waiting."""

    status = 503
    code = "overloaded"


class SearchTimeoutError(ServiceError):
    """The search did not finish in time; nothing was decided."""

    status = 503
    code = "search-timeout"


class DatabaseUnavailableError(ServiceError):
    """The database is away or busy."""

    status = 503
    code = "database-unavailable"


class StorageUnavailableError(ServiceError):
    """The portrait store cannot be read or written."""

    status = 503
    code = "storage-unavailable"
