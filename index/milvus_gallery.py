"""`MilvusGallery`: references on a Milvus server, exact answers from its brute-force search.

The server sums inner products in float32 and orders by them. That order is only used to
find *which* references may matter: their vectors come back with them, are compared again
in float64 and ranked by `index.ranking`, so scores and ties are those of the oracle. A list
is complete when everything that the server left out must score below the last candidate
wanted; until it is, more is asked for, first by longer pages, then, beyond the longest that
the server allows, by halving the range of reference ids.

Two writers would undo each other's changes, so each `MilvusGallery` marks its collection,
and refuses to write once another has marked it.
"""

import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from index.columns import empty_references, sorted_join
from index.errors import BackendError
from index.milvus_collection import Hits, MilvusCollection
from index.ranking import (
    checked_exclusions,
    checked_references,
    checked_vectors,
    exact_scores,
    ranked_persons,
)
from index.rows import Rows
from index.types import Candidate, Reference, References, SearchFilter, Vectors

_PROBES_AT_ONCE = 16
"""Most probes sent in one call."""

_SPARE = 16
"""References asked for beyond the limit at first: enough for most searches to end there."""

_WIDER = 4
"""Factor from one page to the next."""

_KEYS_AT_ONCE = 1000
"""Most keys written into one condition."""


class MilvusGallery:
    """A gallery in a collection on a Milvus server; see `Gallery` for the contract."""

    def __init__(
        self,
        collection: MilvusCollection,
        references: References | None = None,
        *,
        largest_page: int | None = None,
    ) -> None:
        """Take over a collection as its one writer.

        Args:
            collection: Where the references are.
            references: Written into it first; their ids must not be there yet.
            largest_page: Most references asked for at once; default: what the server allows.

        Raises:
            DimensionError: The references' vectors do not fit.
            BackendError: The server failed.
        """
        self._collection = collection
        self._page = max(2, min(largest_page or collection.page, collection.page))
        self._slack = _rounding_bound(collection.dimension)
        self._writer = threading.Lock()
        self._counts: tuple[int, int] | None = None
        self._mark = secrets.randbits(62)
        collection.claim(self._mark)
        if references is not None:
            self.fill(references)

    @property
    def collection_name(self) -> str:
        """Name of the collection on the server."""
        return self._collection.name

    @property
    def dimension(self) -> int:
        """Length d of every vector."""
        return self._collection.dimension

    @property
    def person_count(self) -> int:
        """Number of distinct persons enrolled."""
        return self._counted()[1]

    def __len__(self) -> int:
        """Return the number of references enrolled, m."""
        return self._counted()[0]

    @property
    def position(self) -> int | None:
        """The position recorded last, or None before the first.

        Raises:
            BackendError: The server failed.
        """
        return self._collection.position()

    def record_position(self, position: int) -> None:
        """Write down that every change up to a position is in, so that a restart begins there.

        Raises:
            BackendError: The server failed, or another process has taken the collection over.
        """
        with self._writing():
            self._collection.record_position(position)

    def fill(self, references: References) -> None:
        """Add references whose ids are not there yet, without looking for them first.

        Raises:
            DimensionError: The references' vectors do not fit.
            BackendError: The server failed; some of them may be there.
        """
        rows = checked_vectors(references.vectors, dimension=self.dimension)
        with self._writing():
            self._counts = None
            self._collection.upsert(replace(references, vectors=rows))

    def enrol(self, references: Sequence[Reference], vectors: Vectors) -> None:
        """Add or replace references; see `Gallery.enrol`.

        Raises:
            BackendError: The server failed; some of them may be there.
        """
        rows = checked_vectors(vectors, dimension=self.dimension)
        checked_references(references, rows)
        added = References.of(references, rows)
        keys = dict(zip(added.reference_ids.tolist(), added.person_keys.tolist(), strict=True))
        with self._writing():
            counts = self._counts_after(list(keys), keys)
            self._counts = None
            self._collection.upsert(added)
            self._counts = counts

    def remove(self, reference_ids: Sequence[int]) -> None:
        """Remove references; see `Gallery.remove`.

        No search finds them any more. The server deletes their bytes when it next compacts
        the segments that hold them (see `compact`).

        Raises:
            BackendError: The server failed; some of them may be gone.
        """
        ids = [int(i) for i in reference_ids if i > 0]
        if not ids:
            return
        with self._writing():
            counts = self._counts_after(ids, {})
            self._counts = None
            self._collection.delete(ids)
            self._counts = counts

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
            BackendError: The server failed; nothing is answered then.
        """
        rows = checked_vectors(probes, dimension=self.dimension)
        excluded = checked_exclusions(exclude, probes=len(rows), limit=limit)
        found: list[list[Candidate]] = [[] for _ in rows]
        first = min(limit + _SPARE, self._page)
        for condition, numbers in _alike(excluded, where):
            for part in _parts(numbers, max(1, min(_PROBES_AT_ONCE, self._collection.page // first))):
                answers = self._collection.search(rows[part], limit=first, where=condition)
                for number, hits in zip(part, answers, strict=True):
                    nearest = _Nearest(rows[number], limit=limit, threshold=threshold, slack=self._slack)
                    nearest.add(hits)
                    self._complete(nearest, hits, condition, asked=first)
                    found[number] = nearest.candidates
        return found

    def references(self) -> References:
        """Return a copy of everything enrolled; see `Gallery.references`.

        All of it travels and is held in memory: for galleries that fit there.

        Raises:
            BackendError: The server failed.
        """
        parts = [empty_references(self.dimension)]
        with self._writer:
            for page in self._collection.pages(vectors=True):
                records = [
                    Reference(r["reference_id"], r["person_key"], r["sex"], r["birth_year"]) for r in page
                ]
                parts.append(References.of(records, np.array([r["vector"] for r in page], dtype=np.float32)))
        return sorted_join(parts)

    def rows(self) -> Rows:
        """View a copy of everything enrolled; see `references` and `Gallery.rows`."""
        return Rows.of(self.references())

    def compact(self) -> None:
        """Have the server drop the bytes of what was removed; it goes on in the background.

        Raises:
            BackendError: The server failed.
        """
        self._collection.compact()

    def _complete(self, nearest: "_Nearest", hits: Hits, condition: str, *, asked: int) -> None:
        """Ask for more until nothing that was left out can belong to a probe's list."""
        while len(hits) >= asked and not nearest.covers(hits) and asked < self._page:
            asked = min(asked * _WIDER, self._page)
            (hits,) = self._collection.search(nearest.probe[None], limit=asked, where=condition)
            nearest.add(hits)
        pending = [(condition, hits)]
        while pending:
            wider, hits = pending.pop()
            if len(hits) < asked or nearest.covers(hits):
                continue
            middle = int(np.median(hits.reference_ids)) + 1
            for half in (f"reference_id < {middle}", f"reference_id >= {middle}"):
                narrower = f"{wider} and {half}" if wider else half
                (part,) = self._collection.search(nearest.probe[None], limit=asked, where=narrower)
                nearest.add(part)
                pending.append((narrower, part))

    def _writing(self) -> "_Writing":
        return _Writing(self._writer, self._collection, self._mark)

    def _counted(self) -> tuple[int, int]:
        """Return references and persons; after a start or a failure they are counted on the server."""
        counts = self._counts
        if counts is None:
            with self._writer:
                counts = self._counts = self._counts or self._count()
        return counts

    def _count(self) -> tuple[int, int]:
        keys = [
            np.array([row["person_key"] for row in page], dtype=np.int64)
            for page in self._collection.pages(vectors=False)
        ]
        everything = np.concatenate(keys) if keys else np.empty(0, dtype=np.int64)
        return len(everything), len(np.unique(everything))

    def _counts_after(self, gone: list[int], added: dict[int, int]) -> tuple[int, int]:
        """Return what the counts will be once some ids are replaced or gone."""
        references, persons = self._counts or self._count()
        old = self._keys("reference_id", gone)
        concerned = self._keys("person_key", sorted({*old.values(), *added.values()}))
        left = {i: person for i, person in concerned.items() if i not in set(gone)} | added
        return (
            references - len(old) + len(added),
            persons - len(set(concerned.values())) + len(set(left.values())),
        )

    def _keys(self, column: str, values: list[int]) -> dict[int, int]:
        """Return person_key by reference_id where a column has one of the values."""
        found: dict[int, int] = {}
        for part in _parts(values, _KEYS_AT_ONCE):
            found |= self._collection.keys(f"{column} in {part}")
        return found


class _Nearest:
    """The candidates of one probe, while more references come in."""

    def __init__(self, probe: Vectors, *, limit: int, threshold: float, slack: float) -> None:
        self.probe = probe
        self._limit = limit
        self._threshold = threshold
        self._slack = slack
        self._known: dict[int, tuple[int, float]] = {}
        self.candidates: list[Candidate] = []

    def add(self, hits: Hits) -> None:
        """Compare what came in exactly and rank anew."""
        scores = exact_scores(self.probe[None], hits.vectors)[0]
        for i, person, score in zip(
            hits.reference_ids.tolist(), hits.person_keys.tolist(), scores.tolist(), strict=True
        ):
            if score >= self._threshold:
                self._known[i] = (person, score)
        self.candidates = ranked_persons(
            np.array([score for _, score in self._known.values()], dtype=np.float64),
            reference_ids=np.array(list(self._known), dtype=np.int64),
            person_keys=np.array([person for person, _ in self._known.values()], dtype=np.int64),
            limit=self._limit,
        )

    def covers(self, hits: Hits) -> bool:
        """Tell whether all that the server ranked behind these hits scores too little to matter."""
        needed = self._threshold
        if len(self.candidates) == self._limit:
            needed = max(needed, self.candidates[-1].score)
        return float(hits.distances.min()) + self._slack < needed


class _Writing:
    """One write at a time, and only while no other process has taken the collection over."""

    def __init__(self, lock: threading.Lock, collection: MilvusCollection, mark: int) -> None:
        self._lock = lock
        self._collection = collection
        self._mark = mark

    def __enter__(self) -> None:
        self._lock.acquire()
        try:
            if self._collection.writer() != self._mark:
                raise BackendError(
                    f"Another process has taken over the collection {self._collection.name}; "
                    "only one service may keep it."
                )
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _rounding_bound(dimension: int) -> float:
    """Return how far the server's inner product may lie from the score.

    A float32 sum of d products in any order is off by at most d · 2⁻²³ times the sum of
    their magnitudes, which for rows of norm 1 is at most 1; the norms themselves and the
    rounding of scores add less than 1e-5. Source: Higham, Accuracy and Stability of
    Numerical Algorithms, 2nd edition, section 3.1, with room to spare.
    """
    return dimension * 2.0**-23 + 1e-5


def _alike(excluded: Sequence[frozenset[int]], where: SearchFilter | None) -> Iterator[tuple[str, list[int]]]:
    """Group probes that share a condition, since one call has one: the condition and their numbers."""
    numbers: dict[frozenset[int], list[int]] = {}
    for number, persons in enumerate(excluded):
        numbers.setdefault(persons, []).append(number)
    for persons, group in numbers.items():
        yield _condition(persons, where), group


def _condition(excluded: frozenset[int], where: SearchFilter | None) -> str:
    """Write exclusion and filter in Milvus's language."""
    conditions = []
    if excluded:
        conditions.append(f"person_key not in {sorted(map(int, excluded))}")
    if where is not None and where.sex is not None:
        conditions.append(f"sex in [{int(where.sex)}, 0, 9]")
    if where is not None and where.birth_years is not None:
        first, last = map(int, where.birth_years)
        conditions.append(f"(birth_year == 0 or (birth_year >= {first} and birth_year <= {last}))")
    return " and ".join(conditions)


def _parts(values: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
