"""Portraits to measure with: the user's own, or rendered from photographs inside installed packages."""

from itertools import cycle, islice
from pathlib import Path

from index.extraction import Extractor
from index.pack import Pack
from scripts.demo_portraits import second_photograph
from scripts.demo_registry import people
from scripts.failures import CommandError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})


def usable_portraits(pack: Pack, folder: Path | None, count: int) -> list[bytes]:
    """Return portraits that the pack admits; the same arguments give the same ones.

    Args:
        pack: Must find one face in each.
        folder: Of pictures, searched with the folders in it; None: portraits of 358 x 441 pixels in the frame
            of ID cards are rendered, each person in another light and position every time.
        count: Portraits wanted. A folder with fewer gives all that it has.

    Raises:
        CommandError: No portrait can be used.
    """
    found = rendered_portraits(pack, count) if folder is None else _in_folder(folder)
    extractor = Extractor(pack)
    usable: list[bytes] = []
    for picture in found:
        if extractor.extract(picture).template is not None:
            usable.append(picture)
        if len(usable) == count:
            break
    if not usable:
        where = "the rendered portraits" if folder is None else str(folder)
        raise CommandError(
            f"the pack '{pack.name}' admits none of {where}; name a folder of portraits with --portraits"
        )
    return usable


def rendered_portraits(pack: Pack, count: int) -> list[bytes]:
    """Render photographs of the people in the pictures that installed packages bring along.

    Args:
        pack: Its detector finds the people.
        count: Portraits wanted; the people take turns.
    """
    found = people(pack.detector.detect)
    return [
        second_photograph(person.pixels, person.face, seed=3_000 + number)
        for number, person in enumerate(islice(cycle(found), count if found else 0))
    ]


def _in_folder(folder: Path) -> list[bytes]:
    """Read the pictures of a folder in the order of their names.

    Raises:
        CommandError: There is no such folder.
    """
    if not folder.is_dir():
        raise CommandError(f"{folder} is no folder of portraits")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [path.read_bytes() for path in files]
