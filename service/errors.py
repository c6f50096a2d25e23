"""The errors of the service; each class states its HTTP status and its code."""

from typing import Any, ClassVar, Self

from service.refusals import Refusal


class ServiceError(Exception):
    """Root of what the service raises on purpose.

    Attributes:
        status: HTTP status of the answer.
        code: Slug that a machine may rely on; also the last part of the problem type.
        detail: A sentence with the remedy, free of personal data.
        extensions: Further members of the problem document.
        refusal: Says the detail, and the fault of a field, in any language; None where only `detail` does.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, detail: str, **extensions: Any) -> None:
        """Keep the sentence and the extra members."""
        super().__init__(detail)
        self.detail = detail
        self.extensions = extensions
        self.refusal: Refusal | None = None

    @classmethod
    def told(cls, refusal: Refusal, **extensions: Any) -> Self:
        """Make an error that is told in the language of whoever asked.

        Args:
            refusal: Why.
            extensions: Further members of the problem document.
        """
        error = cls(refusal.detail("en"), **extensions)
        error.refusal = refusal
        if refusal.field is not None:
            error.extensions["errors"] = [refusal.fault("en")]
        return error

    def detail_in(self, language: str) -> str:
        """Return the sentence in a language, as far as it is known in it."""
        return self.refusal.detail(language) if self.refusal is not None else self.detail

    def extensions_in(self, language: str) -> dict[str, Any]:
        """Return the further members in a language, as far as they are known in it."""
        if self.refusal is None or self.refusal.field is None:
            return self.extensions
        return self.extensions | {"errors": [self.refusal.fault(language)]}


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


class ForeignDivisionError(NotFoundError):
    """It exists in another division; the caller is told what is told of things that do not exist."""

    status = NotFoundError.status
    code = NotFoundError.code


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


class NoticeStateError(ServiceError):
    """The notice, or its delivery, is not in a state that allows this."""

    status = 409
    code = "notice-state"


class VisitCorrectedError(ServiceError):
    """The record of a visit has a correction already."""

    status = 409
    code = "visit-corrected"


class MonthStateError(ServiceError):
    """The month is not over, or not in a state that allows this."""

    status = 409
    code = "month-state"


class GalleryNotReadyError(ServiceError):
    """No complete, calibrated gallery with the right pack is loaded."""

    status = 503
    code = "gallery-not-ready"


class TooManyRequestsError(ServiceError):
    """One caller asks more often than one may.

    Attributes:
        retry_after_s: Whole seconds after which the next request will be let through.
    """

    status = 429
    code = "too-many-requests"
    retry_after_s: int = 1


class OverloadedError(ServiceError):
    """Too much work is waiting.

    Attributes:
        retry_after_s: Whole seconds after which there may be room; queues drain within seconds.
    """

    status = 503
    code = "overloaded"
    retry_after_s: int = 2


class SearchTimeoutError(ServiceError):
    """The search did not finish in time; nothing was decided."""

    status = 503
    code = "search-timeout"


class DatabaseUnavailableError(ServiceError):
    """The database is away or busy."""

    status = 503
    code = "database-unavailable"


class AuditChainError(ServiceError):
    """What is done cannot be recorded, so it is not done."""

    status = 503
    code = "audit-unavailable"


class AuditDamagedError(ServiceError):
    """The audit log was tampered with where it was to be read."""

    status = 409
    code = "audit-damaged"


class StorageUnavailableError(ServiceError):
    """The portrait store cannot be read or written."""

    status = 503
    code = "storage-unavailable"


class SealBrokenError(StorageUnavailableError):
    """Stored data that was altered, moved, never encrypted, or whose key is not given; it is not used."""

    status = 503
    code = "seal-broken"


class KeyMissingError(SealBrokenError):
    """A key that stored data is encrypted with is not given, or its wrapped form is damaged."""

    status = 503
    code = "encryption-key-missing"
