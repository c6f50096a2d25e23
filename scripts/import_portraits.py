"""Reads the portrait files that an import names, and nothing outside their folder."""

import stat
from pathlib import Path, PurePosixPath

from index.pictures.header import PortraitLimits
from scripts.import_rows import ImportFileError

LARGEST_BYTES = PortraitLimits().max_bytes


class PortraitFileError(Exception):
    """A named file that cannot be read as a portrait.

    Attributes:
        reason: Slug or short phrase.
        remedy: What to do about it.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        """Keep reason and remedy."""
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class PortraitFolder:
    """The folder given with `--portraits`."""

    def __init__(self, directory: Path) -> None:
        """Use this folder.

        Raises:
            ImportFileError: It is no folder that can be read.
        """
        if not directory.is_dir():
            raise ImportFileError(f"--portraits {directory} is not a folder")
        self._root = directory.resolve()

    def size(self, name: str) -> int:
        """Return the bytes that reading a file will take, 0 when it cannot be read."""
        try:
            return min(self._path(name).stat().st_size, LARGEST_BYTES)
        except (OSError, PortraitFileError):
            return 0

    def read(self, name: str) -> bytes:
        """Read a file.

        Args:
            name: Relative to the folder; may name a file in a folder below it.

        Raises:
            PortraitFileError: Outside the folder, missing, no file, too large, or unreadable.
        """
        path = self._path(name)
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise PortraitFileError("not-a-file", "name a picture file under --portraits")
            if found.st_size > LARGEST_BYTES:
                raise PortraitFileError("too-many-bytes", f"at most {LARGEST_BYTES} bytes; save it smaller")
            return path.read_bytes()
        except FileNotFoundError:
            raise PortraitFileError(
                "file-not-found", "put the file under --portraits, or correct its name (case matters)"
            ) from None
        except OSError as error:
            raise PortraitFileError(
                "file-unreadable", f"{error.strerror}; make it readable for this user"
            ) from error

    def _path(self, name: str) -> Path:
        """Join safely; links are followed before it is checked where they lead."""
        outside = PortraitFileError("outside-portraits", "name a file under --portraits, without '..'")
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\0" in name or "\\" in name:
            raise outside
        try:
            path = (self._root / name).resolve()
        except (OSError, RuntimeError):
            raise PortraitFileError(
                "file-unreadable", "the name or a link in it cannot be followed"
            ) from None
        if not path.is_relative_to(self._root):
            raise outside
        return path
