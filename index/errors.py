"""The one error tree of the library; it knows no HTTP.

Every message names what is wrong and what to do about it, and carries no
personal data: no names, document numbers, pixels or vector components.
"""


class OnePersonError(Exception):
    """Root of all errors raised on purpose."""


class PortraitError(OnePersonError):
    """Bytes that are not an acceptable picture.

    Attributes:
        reason: Slug from `index.portrait.PortraitReason`, stable for machines.
        detail: A sentence with the remedy.
    """

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the machine-readable reason beside the sentence."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class PackError(OnePersonError):
    """A model pack is missing, malformed, altered or does not run."""


class AlignmentError(OnePersonError):
    """Five points that no face has, so that it cannot be cut out."""


class GalleryError(OnePersonError):
    """Root of what galleries raise."""


class DimensionError(GalleryError):
    """Vectors whose dimension is not the gallery's, or that are not finite and of norm 1."""


class NotReadyError(GalleryError):
    """No complete generation is loaded, so no search may answer."""


class BackendError(GalleryError):
    """The server behind a gallery failed, did not answer, or belongs to another writer by now."""


class GenerationError(GalleryError):
    """A generation on disk is damaged, incomplete or made by another pack."""


class CalibrationError(OnePersonError):
    """Too little data to state a false-alarm rate."""


class EvaluationError(OnePersonError):
    """Labelled portraits that cannot be evaluated as given."""
