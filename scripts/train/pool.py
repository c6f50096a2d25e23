"""Unpacks aligned face crops into one array, so that an epoch costs no decoding."""

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

CROP_SIZE = 136
"""Side in pixels of the crops: the ArcFace template of 112, scaled by 116/112, with a margin of 10 around."""

FACES_FILE = "faces.npy"
ROWS_FILE = "faces.npz"


@dataclass(frozen=True)
class Pool:
    """Aligned faces, and what is known of each.

    Attributes:
        faces: Shape (n, 136, 136, 3), uint8, RGB; mapped from disk.
        points: Shape (n, 5, 2), float32, pixels of the crop.
        sources: Shape (n,), names of the collections.
        identities: Shape (n,), int64; -1 where nobody knows who it is.
    """

    faces: NDArray[np.uint8]
    points: NDArray[np.float32]
    sources: NDArray[np.str_]
    identities: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.faces)


def unpack(folder: Path, work: Path) -> Pool:
    """Decode every crop once; a second call finds the work done.

    Args:
        folder: Holds `index.csv` (shard, name, source, identity, score, ten coordinates) and the zip files.
        work: Where the array is kept.

    Raises:
        ValueError: A picture cannot be decoded or is no square of 136 pixels.
    """
    if not (work / ROWS_FILE).is_file():
        with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        _decode(folder, rows, work / FACES_FILE)
        _write_rows(rows, work / ROWS_FILE)
    known = np.load(work / ROWS_FILE)
    return Pool(
        faces=np.load(work / FACES_FILE, mmap_mode="r"),
        points=known["points"],
        sources=known["sources"],
        identities=known["identities"],
    )


def _decode(folder: Path, rows: list[dict[str, str]], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    faces = np.lib.format.open_memmap(
        target, mode="w+", dtype=np.uint8, shape=(len(rows), CROP_SIZE, CROP_SIZE, 3)
    )
    shards: dict[str, zipfile.ZipFile] = {}
    for at, row in enumerate(rows):
        shard = row["shard"] if row["shard"].endswith(".zip") else f"{row['shard']}.zip"
        if shard not in shards:
            shards[shard] = zipfile.ZipFile(folder / shard)
        data = np.frombuffer(shards[shard].read(row["name"]), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if picture is None or picture.shape != (CROP_SIZE, CROP_SIZE, 3):
            raise ValueError(f"{row['name']} in {shard} is no picture of {CROP_SIZE} x {CROP_SIZE}")
        faces[at] = picture[..., ::-1]
    faces.flush()


def _write_rows(rows: list[dict[str, str]], target: Path) -> None:
    columns = [name for name in rows[0] if name not in ("shard", "name", "source", "identity")][-10:]
    points = np.array([[float(row[name]) for name in columns] for row in rows], np.float32)
    numbers: dict[str, int] = {}
    identities = [
        numbers.setdefault(row["identity"], len(numbers)) if row["identity"] else -1 for row in rows
    ]
    np.savez(
        target,
        points=points.reshape(-1, 5, 2),
        sources=np.array([row["source"] for row in rows]),
        identities=np.array(identities, np.int64),
    )
