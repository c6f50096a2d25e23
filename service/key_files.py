"""Keeps two changes of a key file apart: a key that another process has just added must not be lost."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path | None) -> Iterator[None]:
    """Be the only one who changes a key file, across processes; whoever comes second waits.

    The folder is locked and not the file, because a change replaces the file.

    Args:
        path: The key file, whose folder is made if need be; None where keys come from elsewhere.
    """
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
