"""Which files may be attached as evidence: told by their content, never by their name.

Documents that officers scan, photograph or receive. Nothing that runs, and nothing that a browser would show
as a page; a file is only ever handed out to be saved.
"""

import io
import zipfile
from dataclasses import dataclass

LONGEST_FILE_BYTES = 10 * 2**20
"""10 MB: about forty pages scanned at 150 dpi."""

MOST_OFD_ENTRIES = 4096
"""Entries of an OFD file that are looked through: some per page."""

PDF_HEADER_BYTES = 1024
"""Where readers look for `%PDF-`. Source: ISO 32000-1, annex H, implementation note 13."""


@dataclass(frozen=True, slots=True)
class FileType:
    """A kind of file.

    Attributes:
        media_type: As it is told to browsers.
        form: Its extension in the store.
    """

    media_type: str
    form: str


PDF = FileType("application/pdf", "pdf")
JPEG = FileType("image/jpeg", "jpeg")
PNG = FileType("image/png", "png")
OFD = FileType("application/ofd", "ofd")
"""The national format of fixed-layout documents. Source: GB/T 33190; a ZIP file with `OFD.xml` at its top."""

ALLOWED = (PDF, JPEG, PNG, OFD)


def type_of(data: bytes) -> FileType | None:
    """Return what a file is by its content; None for anything that is not allowed."""
    if data.startswith(b"\xff\xd8\xff"):
        return JPEG
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if b"%PDF-" in data[:PDF_HEADER_BYTES] and not data.startswith((b"<", b"PK")):
        return PDF
    return OFD if data.startswith(b"PK\x03\x04") and _is_ofd(data) else None


def _is_ofd(data: bytes) -> bool:
    """Read the list of entries only: nothing is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return False
    return len(names) <= MOST_OFD_ENTRIES and "OFD.xml" in names
