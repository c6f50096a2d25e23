"""What an examination found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one part.

    Attributes:
        part: Which part.
        ok: Whether it is as it should be.
        detail: What was found, free of names, document numbers and biometric data.
        remedy: What to do, or beside something that is ok what would be better; empty when nothing.
    """

    part: str
    ok: bool
    detail: str
    remedy: str = ""
