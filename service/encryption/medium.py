"""What a store of encrypted files lies on; it sees names and sealed bytes, and knows no keys."""

import re
from collections.abc import Callable, Iterator
from typing import Protocol

LOCATION = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}\.sealed")
"""Where a file lies; the only form under which anything is read, written or removed."""

SUFFIX = ".sealed"

Change = Callable[[bytes], bytes]
"""Makes the new sealed bytes of a file from the old ones."""


class Medium(Protocol):
    """A folder, or a part of a bucket.

    Every method raises OSError, whose `strerror` names neither a file nor an address, when the medium does
    not do what it is asked for; FileNotFoundError when a file, or all of the medium, is not there.

    Attributes:
        name: How operators know it; no secret.
        away: What is said when it is missing or empty although records point into it; `{kind}` is filled in.
        threads: Files that are best worked on at once by long runs.
        needs_row_lock: Whether whoever replaces a file must hold the record that points to it, because the
            medium itself does not keep a replacement and a removal by two processes apart.
    """

    name: str
    away: str
    threads: int
    needs_row_lock: bool

    def is_present(self, *, within_s: float = 0.0) -> bool:
        """Tell whether it is there and was begun; an answer of the last `within_s` seconds will do."""

    def begin(self) -> None:
        """Make it, with a mark by which it is known from now on."""

    def prove_writable(self) -> None:
        """Write something, or have written something lately, so that it is known to take files."""

    def write(self, location: str, data: bytes) -> None:
        """Store a new file durably; leave nothing where that fails."""

    def put_in_place(self, location: str, data: bytes) -> None:
        """Store a file durably, whole or not at all, whether there is one or not."""

    def read(self, location: str) -> bytes:
        """Return a file."""

    def read_head(self, location: str, size: int) -> bytes:
        """Return at most the first bytes of a file."""

    def remove(self, location: str) -> None:
        """Remove a file; one that is gone is no error unless the whole medium may be."""

    def exists(self, location: str) -> bool:
        """Tell whether a file is there."""

    def locations(self) -> Iterator[str]:
        """List what is stored, also under names of other forms; some thousands are held at a time."""

    def age_s(self, location: str) -> float:
        """Return the seconds since a file was last written; 0 for one that is gone."""

    def replace(self, location: str, change: Change) -> bool:
        """Replace a file in one step, unless it is gone; tell whether it was there."""
