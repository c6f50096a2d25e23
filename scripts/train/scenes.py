"""Whole pictures with one labelled face each, decoded once, and the part of them held out of training."""

import csv
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from index.types import Image

PIXELS_FILE = "scenes.npy"
ROWS_FILE = "scenes.npz"

HELD_OUT = 10
"""One picture of so many is kept out of training, chosen by the checksum of its name."""

_POINT_COLUMNS = tuple(
    f"{point}_{axis}"
    for point in ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
    for axis in "xy"
)


@dataclass(frozen=True)
class Scene:
    """One picture and its face.

    Attributes:
        picture: Shape (h, w, 3), RGB; not to be modified.
        box: x, y, width, height in pixels; may reach beyond the picture.
        points: Shape (5, 2): right eye (image left), left eye, nose, right and left mouth corner.
    """

    picture: Image
    box: NDArray[np.float32]
    points: NDArray[np.float32]


@dataclass(frozen=True)
class Scenes:
    """Pictures behind one another in one array, mapped from disk.

    Attributes:
        pixels: Shape (bytes,), uint8.
        starts: Shape (n,), where each picture begins.
        sizes: Shape (n, 2), height and width.
        boxes: Shape (n, 4), see `Scene.box`.
        points: Shape (n, 5, 2), see `Scene.points`.
        sources: Shape (n,), names of the collections.
    """

    pixels: NDArray[np.uint8]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    sources: NDArray[np.str_]
    held_out: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.starts)

    def __getitem__(self, number: int) -> Scene:
        """Return one picture without copying it."""
        height, width = self.sizes[number]
        start = self.starts[number]
        picture = self.pixels[start : start + height * width * 3].reshape(height, width, 3)
        return Scene(picture, self.boxes[number], self.points[number])


def unpack_scenes(folder: Path, work: Path) -> Scenes:
    """Decode every picture in which exactly one face was found; a second call finds the work done.

    Args:
        folder: Holds `labels.csv` and `scenes.zip`.
        work: Where the arrays are kept.

    Raises:
        ValueError: A picture cannot be decoded or has another size than its label says.
    """
    if not (work / ROWS_FILE).is_file():
        work.mkdir(parents=True, exist_ok=True)
        _unpack(folder, work)
    known = np.load(work / ROWS_FILE)
    return Scenes(
        pixels=np.load(work / PIXELS_FILE, mmap_mode="r"),
        **{name: known[name] for name in ("starts", "sizes", "boxes", "points", "sources", "held_out")},
    )


def is_held_out(name: str) -> bool:
    """Tell whether a picture of this name stays out of training; the same on every machine."""
    return zlib.crc32(name.encode()) % HELD_OUT == 0


def _unpack(folder: Path, work: Path) -> None:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["faces_found"] == "1"]
    pictures = _decode(folder / "scenes.zip", rows)
    lengths = np.array([picture.size for picture in pictures], np.int64)
    np.save(work / PIXELS_FILE, np.concatenate([picture.ravel() for picture in pictures]))
    # Written last: its presence says that the pixels are complete.
    np.savez(
        work / ROWS_FILE,
        starts=np.cumsum(lengths) - lengths,
        sizes=np.array([picture.shape[:2] for picture in pictures], np.int64),
        boxes=np.array([[float(row[key]) for key in "xywh"] for row in rows], np.float32),
        points=np.array([[float(row[key]) for key in _POINT_COLUMNS] for row in rows], np.float32).reshape(
            -1, 5, 2
        ),
        sources=np.array([row["source"] for row in rows]),
        held_out=np.array([is_held_out(row["name"]) for row in rows]),
    )


def _decode(archive: Path, rows: list[dict[str, str]]) -> list[Image]:
    pictures = []
    with zipfile.ZipFile(archive) as file:
        inside = {Path(name).name: name for name in file.namelist()}
        for row in rows:
            data = np.frombuffer(file.read(inside[row["name"]]), np.uint8)
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
            if picture is None or picture.shape[:2] != (int(row["height"]), int(row["width"])):
                raise ValueError(f"{archive}: {row['name']} is no picture of the size in labels.csv")
            pictures.append(np.ascontiguousarray(picture[:, :, ::-1], np.uint8))
    return pictures
