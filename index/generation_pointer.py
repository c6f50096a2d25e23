"""`active.json`: which generation of a gallery is active, and which were before."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from index.errors import GenerationError
from index.generation_files import sync_directory, write_bytes
from index.manifest import read_small

POINTER_NAME = "active.json"
GENERATION_NAME = re.compile(r"generation-(\d{8})-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Pointer:
    """Content of `active.json`: names of the active generation and of those before, latest first."""

    current: str
    previous: tuple[str, ...]


def read_pointer(directory: Path) -> Pointer | None:
    """Read `active.json`.

    Raises:
        GenerationError: It is there but cannot be read.
    """
    try:
        values = json.loads(read_small(directory / POINTER_NAME))
        names = [values["current"], *values["previous"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise GenerationError(f"{directory.name}/{POINTER_NAME} cannot be read: {error}.") from error
    if not all(isinstance(name, str) and GENERATION_NAME.fullmatch(name) for name in names):
        raise GenerationError(f"{directory.name}/{POINTER_NAME} names something that is no generation.")
    return Pointer(names[0], tuple(names[1:]))


def write_pointer(directory: Path, pointer: Pointer) -> None:
    """Replace `active.json` by one rename."""
    aside = directory / f"{POINTER_NAME}.new"
    write_bytes(aside, json.dumps({"current": pointer.current, "previous": pointer.previous}).encode())
    aside.replace(directory / POINTER_NAME)
    sync_directory(directory)
