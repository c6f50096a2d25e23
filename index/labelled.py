"""Labelled portraits for measuring: a folder with `manifest.csv`, columns `path` and `identity`."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from index.errors import EvaluationError

MANIFEST = "manifest.csv"

_MAX_FIELD = 4096


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """One row of the manifest.

    Attributes:
        path: Of the picture file, relative to the folder.
        identity: Label of the person; equal labels mean the same person.
        group: Value of the column that figures are wanted by; empty without one.
    """

    path: str
    identity: str
    group: str = ""


def read_labelled(directory: Path, *, by: str | None = None) -> list[LabelledPicture]:
    """Read `manifest.csv` and check that every picture is there.

    Args:
        directory: Holds the manifest and, beneath it, the pictures.
        by: Name of a further column, of which every row has the value of its group.

    Returns:
        The rows, in the manifest's order.

    Raises:
        EvaluationError: The manifest or a picture is missing or wrong; the message names the line.
    """
    path = directory / MANIFEST
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            pictures = list(_rows(csv.DictReader(file, strict=True), directory, by))
    except FileNotFoundError:
        raise EvaluationError(f"{path}: is missing; list the pictures there, columns path,identity") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from error
    if not pictures:
        raise EvaluationError(f"{path}: lists no picture")
    return pictures


def by_identity(pictures: Sequence[LabelledPicture]) -> dict[str, list[int]]:
    """Return the places of each identity's pictures, identities and places in the order given."""
    places: dict[str, list[int]] = {}
    for place, picture in enumerate(pictures):
        places.setdefault(picture.identity, []).append(place)
    return places


def _rows(reader: "csv.DictReader[str]", directory: Path, by: str | None) -> Iterator[LabelledPicture]:
    wanted = ["path", "identity"] if by is None else ["path", "identity", by]
    missing = set(wanted) - set(reader.fieldnames or ())
    if missing:
        raise EvaluationError(
            f"{directory / MANIFEST}: line 1 has no column {' and '.join(sorted(missing))}; "
            f"the first line names the columns: {','.join(wanted)}"
        )
    seen: set[str] = set()
    for row in reader:
        place = f"{directory / MANIFEST}: line {reader.line_num}"
        path, identity = (row["path"] or "").strip(), (row["identity"] or "").strip()
        if not path or not identity or max(len(path), len(identity)) > _MAX_FIELD:
            raise EvaluationError(f"{place}: path and identity must both be given")
        if not _is_beneath(path):
            raise EvaluationError(f"{place}: '{path}' leads out of the folder; give a path beneath it")
        if path in seen:
            raise EvaluationError(f"{place}: '{path}' is listed twice; keep one of the lines")
        if not (directory / path).is_file():
            raise EvaluationError(f"{place}: there is no file '{path}'; put it there or remove the line")
        seen.add(path)
        group = "" if by is None else (row[by] or "").strip()
        yield LabelledPicture(path, identity, group)


def _is_beneath(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return "\0" not in path and "\\" not in path and ".." not in parts and not path.startswith("/")
