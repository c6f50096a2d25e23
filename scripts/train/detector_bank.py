"""Squares composed and labelled once, kept on disk and shown many times through moving windows."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from numpy.random import Generator
from numpy.typing import NDArray

from index.types import Image
from scripts.train.detector_compose import Square

SIDE = 320
"""Of the squares in pixels: what the detector is used at."""

CHUNK = 256
"""Squares labelled between two notes that they are there: what an interruption loses at most."""

_ALL_VISIBLE, _BARELY_VISIBLE = 0.9, 0.25
"""Share of a box inside a window from which on its labels, made on the whole square, still hold for the
window, and below which the face is gone."""


_MOSTLY_VISIBLE = 0.6
"""Share of a box inside a reduced square from which on the face is asked for."""

_REDUCED = (-0.18, 0.18)
"""Logarithm of the size at which a square of 320 is shown in one of 160, against 160: a picture with the
loader's border of 15 % then has one of 2 to 42 %."""

SMALLEST_REDUCED_PX = 9.0
"""Faces smaller than this (root of the box's area) in a reduced square are neither asked for nor
forbidden."""


@dataclass(frozen=True)
class Bank:
    """Labelled squares, in the order in which they were made.

    Attributes:
        pictures: Shape (n, SIDE, SIDE, 3), uint8, RGB; mapped from disk.
        faces: Shape (faces, 14): left, top, right, bottom and five points, square after square.
        starts: Shape (n + 1,): first face of each square.
        ignored: Shape (boxes, 4), see `Square.ignored`.
        ignored_starts: Shape (n + 1,).
    """

    pictures: NDArray[np.uint8]
    faces: NDArray[np.float32]
    starts: NDArray[np.int64]
    ignored: NDArray[np.float32]
    ignored_starts: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of squares."""
        return len(self.starts) - 1

    def square(self, number: int) -> Square:
        """Return a square; its picture is the bank's own and not to be modified."""
        rows = self.faces[self.starts[number] : self.starts[number + 1]].astype(np.float64)
        boxes = self.ignored[self.ignored_starts[number] : self.ignored_starts[number + 1]]
        return Square(
            self.pictures[number],
            list(rows[:, :4]),
            list(rows[:, 4:].reshape(-1, 5, 2)),
            list(boxes.astype(np.float64)),
        )


def fill(folder: Path, count: int, make: Callable[[int], Square], *, advance: Callable[[int], None]) -> None:
    """Make squares and keep them; interrupted, the same call goes on.

    Args:
        folder: Where they are kept.
        count: How many; rounded up to whole chunks.
        make: Makes the square of a number.
        advance: Told how many squares were added.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chunks = -(-count // CHUNK)
    path = folder / "squares.npy"
    shape = (chunks * CHUNK, SIDE, SIDE, 3)
    pictures = open_memmap(path, mode="r+") if path.is_file() else None
    if pictures is None or pictures.shape != shape:
        pictures = open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        for file in folder.glob("labels-*.npz"):
            file.unlink()
    for chunk in range(chunks):
        target = folder / f"labels-{chunk:05d}.npz"
        if target.is_file():
            advance(CHUNK)
            continue
        squares = []
        for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
            squares.append(make(number))
            pictures[number] = squares[-1].picture
            squares[-1].picture = pictures[number]
            advance(1)
        pictures.flush()
        _write_labels(target, squares)


def open_bank(folder: Path) -> Bank:
    """Open what has been made so far, from the first square up to the first gap.

    Raises:
        FileNotFoundError: There is no square yet.
    """
    chunks: list[Mapping[str, NDArray[np.generic]]] = []
    while (folder / f"labels-{len(chunks):05d}.npz").is_file():
        chunks.append(np.load(folder / f"labels-{len(chunks):05d}.npz"))
    if not chunks:
        raise FileNotFoundError(f"{folder}: no labelled squares; make them first")
    counts, ignored = (np.concatenate([c[name] for c in chunks]) for name in ("counts", "ignored_counts"))
    return Bank(
        pictures=np.load(folder / "squares.npy", mmap_mode="r"),
        faces=np.concatenate([c["faces"] for c in chunks]),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        ignored=np.concatenate([c["ignored"] for c in chunks]),
        ignored_starts=np.concatenate([[0], np.cumsum(ignored)]),
    )


def windowed(square: Square, side: int, chance: Generator) -> Square:
    """Cut a window out of a square, moved by whole strides of 32 so that the labels stay true.

    Args:
        square: Not modified.
        side: Of the window, a multiple of 32.
        chance: Where the window lies: over a face, if there is one.
    """
    room = (square.picture.shape[0] - side) // 32
    left, top = (int(at) for at in chance.integers(0, room + 1, 2))
    if square.boxes:
        box = square.boxes[int(chance.integers(len(square.boxes)))]
        left, top = (_offset(box[axis], box[axis + 2], side, room, chance) for axis in (0, 1))
    x, y = left * 32, top * 32
    result = Square(_part(square.picture, x, y, side))
    shift = np.array([x, y], np.float64)
    for box, points in zip(square.boxes, square.points, strict=True):
        moved = box - np.tile(shift, 2)
        if side == square.picture.shape[0] or _visible(moved, side) >= _ALL_VISIBLE:
            result.boxes.append(moved)
            result.points.append(points - shift)
        elif _visible(moved, side) >= _BARELY_VISIBLE:
            result.ignored.append(moved)
    result.ignored += [box - np.tile(shift, 2) for box in square.ignored]
    return result


def reduced(square: Square, side: int, chance: Generator) -> Square:
    """Show a square at about half its size, or a little less or more, in one of a given side.

    Args:
        square: Not modified.
        side: Of the result in pixels: what is larger is cut, what is smaller lies on black.
        chance: How large it is shown, and where.
    """
    whole = square.picture.shape[0]
    size = round(side * math.exp(chance.uniform(*_REDUCED)))
    picture = np.asarray(cv2.resize(square.picture, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    left, top = (int(chance.integers(min(0, side - size), max(0, side - size) + 1)) for _ in range(2))
    result = Square(np.zeros((side, side, 3), np.uint8))
    to_x, to_y = (slice(max(0, at), min(side, at + size)) for at in (left, top))
    from_x, from_y = (slice(max(0, -at), min(size, side - at)) for at in (left, top))
    result.picture[to_y, to_x] = picture[from_y, from_x]
    # A pixel's middle is at a whole number: hence the half pixels.
    factor = size / whole
    shift = np.array([left, top]) + (factor - 1) / 2
    for box, points in zip(square.boxes, square.points, strict=True):
        moved = box * factor + np.tile(shift, 2)
        visible = _visible(moved, side)
        if (
            visible >= _MOSTLY_VISIBLE
            and float(np.sqrt(np.prod(moved[2:] - moved[:2]))) >= SMALLEST_REDUCED_PX
        ):
            result.boxes.append(moved)
            result.points.append(points * factor + shift)
        elif visible >= _BARELY_VISIBLE:
            result.ignored.append(moved)
    result.ignored += [box * factor + np.tile(shift, 2) for box in square.ignored]
    return result


def _part(picture: Image, x: int, y: int, side: int) -> Image:
    return picture[y : y + side, x : x + side]


def _offset(low: float, high: float, side: int, room: int, chance: Generator) -> int:
    """Return a window's place, in strides, that shows all from `low` to `high` if any does."""
    fits = [
        at
        for at in range(room + 1)
        if at * 32 <= max(low, 0) and at * 32 + side >= min(high, 32 * room + side)
    ]
    if fits:
        return fits[int(chance.integers(len(fits)))]
    return int(np.clip(round(((low + high) / 2 - side / 2) / 32), 0, room))


def _visible(box: NDArray[np.float64], side: int) -> float:
    shown = np.clip(box[2:], 0, side) - np.clip(box[:2], 0, side)
    return float(shown.prod() / (box[2:] - box[:2]).prod())


def _write_labels(target: Path, squares: list[Square]) -> None:
    faces = [
        np.concatenate([box, points.ravel()])
        for square in squares
        for box, points in zip(square.boxes, square.points, strict=True)
    ]
    part = target.with_suffix(".part.npz")
    np.savez(
        part,
        faces=np.array(faces, np.float32).reshape(-1, 14),
        counts=np.array([len(square.boxes) for square in squares], np.int64),
        ignored=np.array([box for square in squares for box in square.ignored], np.float32).reshape(-1, 4),
        ignored_counts=np.array([len(square.ignored) for square in squares], np.int64),
    )
    part.replace(target)
