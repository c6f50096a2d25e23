"""Scanning codes by machine code of our own (`index.scan_ir`)."""

import numpy as np
from numpy.typing import NDArray

from index.machine_code import ScanCode
from index.probes import POINTS, Probes, Tables
from index.scan_ir import BLOCK, BYTES, LOOKUPS, WIDEST

_ALIGNED = 64
"""Bytes: a line of the cache, and a multiple of the 32 that a register is loaded from."""

_ARRANGED = 1024
"""Blocks put in order at a time, so that both forms of them stay in the cache."""

_ROOM_SHARE = 16
"""Room is kept for one row in 16; where more are above a cut, all are scanned again with room for them."""

_LEAST_ROOM = 64

_HIGHEST = np.iinfo(np.uint16).max
"""A cut that no sum reaches, see `index.probes.MAX_GROUPS`."""


class NativeScan:
    """Codes of a fixed set of vectors in blocks of 32; any number of threads may scan them.

    Scores are the compressed ones of `index.compressed_scan`.
    """

    def __init__(self, packed: NDArray[np.uint8], code: ScanCode) -> None:
        """Arrange codes.

        Args:
            packed: Shape (m, bytes), two codes in a byte, see `index.probes.MAX_GROUPS`. Not kept.
            code: What scans.
        """
        self._rows = len(packed)
        self._code = code
        self._runs = -(-packed.shape[1] // BYTES)
        self._blocks = _arranged(packed, self._runs)

    def above(
        self, probes: Probes, cuts: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.float32]]:
        """Return all rows whose compressed score is at or above a cut.

        Args:
            probes: n probes with tables.
            cuts: Shape (n,), one for each.

        Returns:
            How many for each probe, shape (n,); rows, probe by probe, ascending; and their scores.
        """
        tables = _tables(probes)
        lowest = _as_sums(cuts, tables)
        counts, rows, sums = [], [], []
        for which, width in _passes(len(lowest)):
            count, row, found = self._above(tables, which, lowest, width=width)
            counts.append(count)
            rows += row
            sums += found
        near = np.concatenate(counts)
        which_probe = np.repeat(np.arange(len(near)), near)
        scores = np.concatenate(sums) * tables.steps.take(which_probe) + tables.starts.take(which_probe)
        return near, np.concatenate(rows).astype(np.int64), scores.astype(np.float32)

    def best(self, probes: Probes, depth: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the highest compressed scores, descending, and their rows.

        Args:
            probes: n probes with tables.
            depth: How many, k, at most as many as there are rows.

        Returns:
            Shape (n, k) each.
        """
        tables = _tables(probes)
        ranked = np.empty((len(tables.steps), depth), dtype=np.float32)
        rows = np.empty((len(tables.steps), depth), dtype=np.int64)
        room = _aligned(2 * BLOCK * len(self._blocks)).view(np.uint16)
        for probe in range(len(ranked)):
            entries = _in_order(tables.entries[:, probe : probe + 1], self._runs)
            self._code.sums(
                *(self._blocks.ctypes.data, len(self._blocks), self._runs),
                *(entries.ctypes.data, room.ctypes.data),
            )
            sums = room[: self._rows]
            high = np.flatnonzero(sums >= _depth_cut(sums, depth))
            rows[probe] = high[np.argsort(-sums[high].astype(np.int32), kind="stable")[:depth]]
            ranked[probe] = sums[rows[probe]] * tables.steps[probe] + tables.starts[probe]
        return ranked, rows

    def _above(
        self, tables: Tables, which: slice, lowest: NDArray[np.uint16], *, width: int
    ) -> tuple[NDArray[np.int64], list[NDArray[np.int32]], list[NDArray[np.uint16]]]:
        """Scan for some probes, `width` of them together."""
        probes = which.stop - which.start
        passes = -(-probes // width)
        cuts = np.full(passes * width, _HIGHEST, dtype=np.uint16)
        cuts[:probes] = lowest[which]
        entries = _in_order(tables.entries[:, which], self._runs, width=width)
        room = self._rows // _ROOM_SHARE + _LEAST_ROOM
        while True:
            counts = np.zeros(passes * width, dtype=np.int64)
            rows = np.empty((passes * width, room), dtype=np.int32)
            sums = np.empty((passes * width, room), dtype=np.uint16)
            self._code.above[width](
                *(self._blocks.ctypes.data, len(self._blocks), self._runs, entries.ctypes.data, passes),
                *(cuts.ctypes.data, room, rows.ctypes.data, sums.ctypes.data, counts.ctypes.data),
            )
            most = int(counts.max())
            if most <= room:
                break
            room = most
        found = [rows[probe, : counts[probe]] for probe in range(probes)]
        if self._rows % BLOCK:  # The last block's empty places have sums, too.
            counts[:probes] = [np.searchsorted(some, self._rows) for some in found]
            found = [rows[probe, : counts[probe]] for probe in range(probes)]
        return counts[:probes], found, [sums[probe, : counts[probe]] for probe in range(probes)]


def _tables(probes: Probes) -> Tables:
    """Return the tables of probes that were made for this scan."""
    if probes.tables is None:
        raise ValueError("the probes have no tables")
    return probes.tables


def _as_sums(cuts: NDArray[np.float64], tables: Tables) -> NDArray[np.uint16]:
    """Return the least sums whose scores are not below some cuts."""
    sums = np.ceil((cuts - tables.starts) / tables.steps)
    return np.clip(sums, 0, _HIGHEST).astype(np.uint16)


def _passes(probes: int) -> list[tuple[slice, int]]:
    """Divide probes into those that look up four together, and one or two that are left."""
    left = probes % WIDEST
    whole = probes if left == WIDEST - 1 else probes - left
    parts = [(slice(0, whole), WIDEST)] if whole else []
    return parts if whole == probes else [*parts, (slice(whole, probes), left)]


def _in_order(entries: NDArray[np.uint8], runs: int, *, width: int = 1) -> NDArray[np.uint8]:
    """Put tables into the order in which they are looked up: those of `width` probes side by side.

    Args:
        entries: Shape (16, n, M).
        runs: Sums of bytes that a vector takes; groups it has not add nothing.
        width: Probes that look up together.
    """
    _, probes, groups = entries.shape
    passes = -(-probes // width)
    ordered = _aligned(passes * width * runs * LOOKUPS * POINTS)
    shaped = ordered.reshape(passes, runs * LOOKUPS, width, POINTS)
    if probes < passes * width or groups < runs * LOOKUPS:
        ordered[:] = 0
    for first in range(passes):
        part = entries[:, first * width : (first + 1) * width]
        shaped[first, :groups, : part.shape[1]] = part.transpose(2, 1, 0)
    return ordered


def _depth_cut(sums: NDArray[np.uint16], depth: int) -> int:
    """Return the highest sum that at least `depth` reach."""
    at_least = np.cumsum(np.bincount(sums)[::-1])
    return len(at_least) - 1 - int(np.searchsorted(at_least, depth))


def _arranged(packed: NDArray[np.uint8], runs: int) -> NDArray[np.uint8]:
    """Return codes in the order of `index.scan_ir`, shape (blocks, runs·BYTES, 32).

    Even places of a block hold its first 16 references, odd ones the others.
    """
    count, width = packed.shape
    blocks = -(-count // BLOCK)
    arranged = _aligned(blocks * runs * BYTES * BLOCK).reshape(blocks, runs * BYTES, BLOCK)
    for first in range(0, blocks, _ARRANGED):
        part = packed[first * BLOCK : (first + _ARRANGED) * BLOCK]
        filled = np.zeros((-(-len(part) // BLOCK) * BLOCK, runs * BYTES), dtype=np.uint8)
        filled[: len(part), :width] = part
        halves = filled.reshape(-1, 2, BLOCK // 2, runs * BYTES)
        into = arranged[first : first + len(halves)].reshape(len(halves), runs * BYTES, BLOCK // 2, 2)
        into[:] = halves.transpose(0, 3, 2, 1)
    return arranged


def _aligned(length: int) -> NDArray[np.uint8]:
    """Return bytes that begin at a line of the cache, with anything in them."""
    room = np.empty(length + _ALIGNED, dtype=np.uint8)
    start = -room.ctypes.data % _ALIGNED
    return room[start : start + length]
