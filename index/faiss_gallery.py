"""`FaissGallery`: a compressed exhaustive scan with exact comparison, alive while it changes.

References lie in immutable segments, the newest in a small buffer that is scanned exactly.
A search takes the current segments and works on them undisturbed; a writer replaces them
under a lock held for at most some milliseconds. Larger work, compressing a full buffer,
joining small segments and dropping removed references, is done by a thread that comes and
goes as needed, so that no write waits for it.

The candidates are those of an exact search, except with probability `MISS_PROBABILITY` for
each (see `index.compressed_scan` for what is proven and what is assumed), and their scores
are computed from the original vectors.
"""

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from itertools import count, pairwise
from typing import TypeVar

import numpy as np

from index.columns import distinct, of_slice, sorted_join
from index.combining import Combiner
from index.compact import Enrolled, StoredReferences
from index.compressed_scan import BATCH, one_thread_here, use_one_thread
from index.errors import DimensionError, GenerationError
from index.gallery_state import MAX_SEGMENT, GalleryState, worth_rewriting
from index.questions import Depths, Question
from index.ranking import checked_exclusions, checked_references, checked_vectors
from index.rows import Rows
from index.segment_search import Run, search_segments
from index.segments import COMPRESS_FROM, Buffer, Segment, parts_of
from index.types import Candidate, Reference, References, SearchFilter, Vectors

_HANDFUL = BATCH
"""Most probes searched together."""

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")


class FaissGallery:
    """The embedded default gallery; see `Gallery` for the contract and the module for the guarantee."""

    def __init__(
        self,
        dimension: int,
        references: Enrolled | None = None,
        *,
        threads: int | None = None,
        compact_after_s: float = 600.0,
    ) -> None:
        """Start empty or with references already enrolled.

        Args:
            dimension: Length d of every vector.
            references: What is enrolled at the start. Kept, not copied, so the arrays may be
                memory maps and must not change. Of a large generation the vectors stay on disk.
            threads: Threads that scan; one per processor by default.
            compact_after_s: Seconds after which a removed vector is dropped from memory at the latest.

        Raises:
            DimensionError: The references' vectors do not fit `dimension`.
        """
        self._threads = threads or os.cpu_count() or 1
        self._compact_after_s = compact_after_s
        self._numbers = count(1)
        self._damage = ""
        self._depths = Depths()
        self._combiner: Combiner[tuple[Vectors, frozenset[int]], list[Candidate]] = Combiner(
            slots=self._threads, most=_HANDFUL
        )
        self._writer = threading.Lock()
        self._upkeep = _Upkeep()
        weakref.finalize(self, self._upkeep.gone.set)
        self._buffer = Buffer(next(self._numbers), dimension)
        segments: tuple[Segment, ...] = ()
        if references is not None and len(references):
            segments = self._built(_checked(references, dimension))
        self._state = GalleryState(
            dimension=dimension,
            segments=segments,
            newest=self._buffer.view(None),
            references=sum(map(len, segments)),
            persons=0 if references is None else distinct(references.person_keys),
        )

    @property
    def dimension(self) -> int:
        """Length d of every vector."""
        return self._state.dimension

    @property
    def person_count(self) -> int:
        """Number of distinct persons enrolled."""
        return self._state.persons

    def __len__(self) -> int:
        """Return the number of references enrolled, m."""
        return self._state.references

    def enrol(self, references: Sequence[Reference], vectors: Vectors) -> None:
        """Add or replace references; see `Gallery.enrol`."""
        rows = checked_vectors(vectors, dimension=self.dimension)
        checked_references(references, rows)
        added = References.of(references, rows)
        sealed = self._built(added) if len(added) >= COMPRESS_FROM else ()
        with self._writer:
            before = self._state
            state, lost = before.without(added.reference_ids)
            if sealed:
                state = replace(state, segments=(*state.segments, *sealed))
            else:
                state = self._buffered(state, added)
            self._state = state.counted(before, lost=lost, gained=added.person_keys)
        self._tend(lost=len(lost) > 0)

    def remove(self, reference_ids: Sequence[int]) -> None:
        """Remove references; see `Gallery.remove`.

        No search finds them any more; the next compaction drops them from memory.
        """
        ids = np.array(list(reference_ids), dtype=np.int64)
        with self._writer:
            before = self._state
            state, lost = before.without(ids)
            self._state = state.counted(before, lost=lost, gained=np.empty(0, dtype=np.int64))
        self._tend(lost=len(lost) > 0)

    def search(
        self,
        probes: Vectors,
        *,
        limit: int,
        threshold: float = -1.0,
        exclude: Sequence[frozenset[int]] | None = None,
        where: SearchFilter | None = None,
    ) -> list[list[Candidate]]:
        """Find the persons closest to each probe; see `Gallery.search`.

        Raises:
            GenerationError: Vectors of a generation on disk turned out damaged; nothing is answered any more.
        """
        if self._damage:
            raise GenerationError(self._damage)
        rows = checked_vectors(probes, dimension=self.dimension)
        excluded = checked_exclusions(exclude, probes=len(rows), limit=limit)
        if not len(rows):
            return []
        if len(rows) == 1:
            kind = (limit, threshold, where)
            return [self._combiner.ask(kind, (rows[0], excluded[0]), partial(self._answer, *kind))]
        if len(rows) <= _HANDFUL:  # Each thread scans its part of the gallery for all of them.
            question = Question(rows, threshold, limit, excluded, where)
            return self._searched(question, run=self._in_threads, shares=self._threads)
        size = min(_HANDFUL, max(1, -(-len(rows) // self._threads)))
        handfuls = [slice(first, first + size) for first in range(0, len(rows), size)]
        parts = self._in_threads(
            lambda mine: self._searched(Question(rows[mine], threshold, limit, excluded[mine], where)),
            handfuls,
        )
        return [found for part in parts for found in part]

    def _answer(
        self,
        limit: int,
        threshold: float,
        where: SearchFilter | None,
        requests: Sequence[tuple[Vectors, frozenset[int]]],
        alone: bool,
    ) -> list[list[Candidate]]:
        """Search for probes that came one by one; a lone one gets all threads."""
        vectors = np.stack([vector for vector, _ in requests])
        question = Question(vectors, threshold, limit, [excluded for _, excluded in requests], where)
        if alone:
            return self._searched(question, run=self._in_threads, shares=self._threads)
        return self._in_threads(self._searched, [question])[0]

    def _searched(
        self, question: Question, *, run: Run | None = None, shares: int = 1
    ) -> list[list[Candidate]]:
        """Search everything that is enrolled now, in this thread unless told otherwise."""
        return search_segments(
            self._state.all, question, depths=self._depths, run=run or _here, shares=shares
        )

    def references(self) -> References:
        """Return a copy of everything enrolled; see `Gallery.references`."""
        return self._state.living()

    def rows(self) -> Rows:
        """View everything enrolled; see `Gallery.rows`."""
        return self._state.rows()

    def compact(self) -> None:
        """Drop every removed vector from memory now, and do all other upkeep that is due.

        Searches and writes go on meanwhile. Waits for upkeep that is already running.
        """
        with self._upkeep.running:
            with self._writer:
                if self._state.newest.dead:
                    self._state = self._with_buffer_sealed(self._state)
            for segment in self._state.segments:
                if segment.dead:
                    self._rewrite([segment])
            while segments := worth_rewriting(self._state, threads=self._threads):
                self._rewrite(segments)

    def _in_threads(self, work: Callable[[_Piece], _Result], pieces: Sequence[_Piece]) -> list[_Result]:
        """Do the first piece in this thread and the others in the scanning threads.

        FAISS starts no threads of its own in any of them. Handing the first on, too, would cost a lone
        search the time that an idle thread takes to wake.
        """
        futures = [_scanning_threads(self._threads).submit(work, piece) for piece in pieces[1:]]
        with one_thread_here():
            first = [work(piece) for piece in pieces[:1]]
        return first + [future.result() for future in futures]

    def _built(self, references: Enrolled) -> tuple[Segment, ...]:
        """Make segments of about equal size, enough to keep all threads busy."""
        shares = self._threads if len(references) >= 4 * COMPRESS_FROM * self._threads else 1
        parts = max(shares, -(-len(references) // MAX_SEGMENT))
        bounds = np.linspace(0, len(references), parts + 1).astype(int).tolist()
        slices = parts_of(references, list(pairwise(bounds)))
        return tuple(self._in_threads(lambda part: Segment.of(next(self._numbers), part), slices))

    def _buffered(self, state: GalleryState, added: References) -> GalleryState:
        """Return the state with a few more references in the buffer; the caller holds the lock."""
        start = 0
        while start < len(added):
            if self._buffer.room == 0:
                state = self._with_buffer_sealed(state)
            stop = min(start + self._buffer.room, len(added))
            self._buffer.append(of_slice(added, slice(start, stop)))
            state = replace(state, newest=self._buffer.view(state.newest))
            start = stop
        return state

    def _with_buffer_sealed(self, state: GalleryState) -> GalleryState:
        """Turn the buffer into a segment and start a new one; the caller holds the lock."""
        sealed = Segment.of(next(self._numbers), state.newest.living(), compress=False)
        self._buffer = Buffer(next(self._numbers), state.dimension)
        segments = (*state.segments, sealed) if len(sealed) else state.segments
        return replace(state, segments=segments, newest=self._buffer.view(None))

    def _rewrite(self, segments: Sequence[Segment]) -> None:
        """Put one new segment of what lives in some into their place."""
        try:
            fresh = self._living_of(segments)
        except GenerationError as error:
            self._damage = str(error)
            raise
        with self._writer:
            self._state = self._state.replaced(list(segments), fresh)
        self._depths.forget_all_but(self._state.segments)

    def _living_of(self, segments: Sequence[Segment]) -> Segment | None:
        """Make one segment of what lives in some; see `Segment.rewritten`."""
        if len(segments) == 1:
            return segments[0].rewritten(next(self._numbers))
        living = sorted_join([segment.living() for segment in segments])
        return Segment.of(next(self._numbers), living) if len(living) else None

    def _tend(self, *, lost: bool) -> None:
        """Start what is due in the background.

        Args:
            lost: Whether references have just died, so that a compaction must follow in time.
        """
        if lost and self._upkeep.claim_sweep():
            _start(_sweep_later, weakref.ref(self), self._upkeep, self._compact_after_s)
        if worth_rewriting(self._state, threads=self._threads) and self._upkeep.running.acquire(
            blocking=False
        ):
            _start(self._work_off)

    def _work_off(self) -> None:
        """Rewrite what is worth it; the lock on upkeep was taken for this thread."""
        try:
            with suppress(GenerationError):  # The next search tells of it.
                while segments := worth_rewriting(self._state, threads=self._threads):
                    self._rewrite(segments)
        finally:
            self._upkeep.running.release()


def _checked(references: Enrolled, dimension: int) -> Enrolled:
    """Return references whose vectors fit.

    Raises:
        DimensionError: They do not.
    """
    if isinstance(references, StoredReferences):
        if references.dimension != dimension:
            raise DimensionError(f"Vectors of {references.dimension} do not fit a gallery of {dimension}.")
        return references
    return replace(references, vectors=checked_vectors(references.vectors, dimension=dimension))


class _Upkeep:
    """Who does upkeep at the moment, and whether a sweep for the dead is due.

    Attributes:
        running: Held by the thread that rewrites segments.
        gone: Set when the gallery is no more.
    """

    def __init__(self) -> None:
        """Start with nothing to do."""
        self.running = threading.Lock()
        self.gone = threading.Event()
        self._sweep = threading.Lock()

    def claim_sweep(self) -> bool:
        """Tell whether the caller is to start the sweep, since none waits yet."""
        return self._sweep.acquire(blocking=False)

    def sweep_begins(self) -> None:
        """Let references that die from now on have a sweep of their own."""
        self._sweep.release()


def _sweep_later(gallery: "weakref.ref[FaissGallery]", upkeep: _Upkeep, delay_s: float) -> None:
    """Wait, unless the gallery goes first, and drop its dead."""
    if upkeep.gone.wait(delay_s):
        return
    upkeep.sweep_begins()
    there = gallery()
    if there is not None:
        with suppress(GenerationError):  # The next search tells of it.
            there.compact()


def _start(work: Callable[..., None], *arguments: object) -> None:
    """Run something in a thread that does not keep the process alive."""
    threading.Thread(target=work, args=arguments, name="gallery-upkeep", daemon=True).start()


def _here(work: Callable[[_Piece], _Result], pieces: Sequence[_Piece]) -> list[_Result]:
    """Do all pieces in the calling thread."""
    return [work(piece) for piece in pieces]


@lru_cache(maxsize=4)
def _scanning_threads(threads: int) -> ThreadPoolExecutor:
    """Return the threads that all galleries scan with."""
    return ThreadPoolExecutor(threads, thread_name_prefix="gallery-scan", initializer=use_one_thread)
