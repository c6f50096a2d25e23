"""The references of one generation on a Milvus server, and one kind of failure.

Only this module and `index.milvus_server` import the vendor's client; `index.milvus_gallery`
searches on top of them. What is asked of the server is little and exact: a brute-force
index (`FLAT`) with inner product, which for rows of norm 1 is the cosine, and strong
consistency, so that a search sees every write that returned before it. Whatever fails,
here or on the server, leaves as `BackendError`; nothing is answered in its stead.

References have ids from 1. Two rows below hold what is known of the collection itself: the
position it has reached and the mark of who writes to it. They live in it because then they
are as durable as the rest, come and go with it, and are seen in the same order.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from index.errors import BackendError
from index.types import References, Vectors

LARGEST_PAGE = 16_384
"""Most rows that one search or query may return. Source: Milvus limits, `topK`."""

_MESSAGE_BYTES = 32 * 2**20
"""Vectors sent or received in one call; the server's own bound is 64 MiB for what it receives."""

_POSITION_ROW = 0
_WRITER_ROW = -1
_REFERENCES_ONLY = "reference_id > 0"


@dataclass(frozen=True, slots=True)
class Hits:
    """What the server found for one probe, best first.

    Attributes:
        reference_ids: Shape (k,).
        person_keys: Shape (k,).
        distances: Shape (k,), inner products as the server summed them, in float32.
        vectors: Shape (k, d), as they were enrolled.
    """

    reference_ids: NDArray[np.int64]
    person_keys: NDArray[np.int64]
    distances: NDArray[np.float64]
    vectors: Vectors

    def __len__(self) -> int:
        """Return their number, k."""
        return len(self.reference_ids)


class MilvusCollection:
    """The references of one generation on the server."""

    def __init__(self, client: MilvusClient, name: str, *, dimension: int, timeout_s: float) -> None:
        """Name a collection; see `index.milvus_server`."""
        self.name = name
        self.dimension = dimension
        self._client = client
        self._timeout_s = timeout_s
        self.page = max(1, min(LARGEST_PAGE, _MESSAGE_BYTES // (4 * dimension)))
        """Most references with their vectors that one call carries."""

    def upsert(self, references: References) -> None:
        """Write references; an id that is there is replaced at one instant.

        Raises:
            BackendError: The server failed; some of them may be written.
        """
        rows = min(self.page, 4096)
        for start in range(0, len(references), rows):
            part = slice(start, start + rows)
            self._upsert(
                [
                    {
                        "reference_id": i,
                        "person_key": person,
                        "sex": sex,
                        "birth_year": year,
                        "vector": vector,
                    }
                    for i, person, sex, year, vector in zip(
                        references.reference_ids[part].tolist(),
                        references.person_keys[part].tolist(),
                        references.sexes[part].tolist(),
                        references.birth_years[part].tolist(),
                        references.vectors[part],
                        strict=True,
                    )
                ]
            )

    def delete(self, reference_ids: Sequence[int]) -> None:
        """Delete references; unknown ids do not matter.

        Raises:
            BackendError: The server failed; some of them may be gone.
        """
        for start in range(0, len(reference_ids), LARGEST_PAGE):
            ids = [int(i) for i in reference_ids[start : start + LARGEST_PAGE]]
            with failing_closed("delete"):
                self._client.delete(self.name, ids=ids, timeout=self._timeout_s)

    def search(self, probes: Vectors, *, limit: int, where: str = "") -> list[Hits]:
        """Find the references with the largest inner products.

        Args:
            probes: Shape (n, d).
            limit: References wanted per probe, at most `page`.
            where: Condition in Milvus's language, or empty.

        Raises:
            BackendError: The server failed or answered for other probes than asked.
        """
        with failing_closed("search"):
            found = self._client.search(
                self.name,
                data=list(probes),
                anns_field="vector",
                limit=limit,
                filter=_all_of(_REFERENCES_ONLY, where),
                output_fields=["person_key", "vector"],
                search_params={"metric_type": "IP"},
                consistency_level="Strong",
                timeout=self._timeout_s,
            )
            if len(found) != len(probes):
                raise BackendError(f"The server answered {len(found)} of {len(probes)} probes.")
            return [self._hits(hits) for hits in found]

    def keys(self, where: str) -> dict[int, int]:
        """Return person_key by reference_id of the few references that meet a condition.

        Raises:
            BackendError: The server failed.
        """
        with failing_closed("query"):
            rows = self._client.query(
                self.name,
                filter=_all_of(_REFERENCES_ONLY, where),
                output_fields=["reference_id", "person_key"],
                consistency_level="Strong",
                timeout=self._timeout_s,
            )
            return {int(row["reference_id"]): int(row["person_key"]) for row in rows}

    def pages(self, *, vectors: bool) -> Iterator[list[dict[str, Any]]]:
        """Read all references, a page at a time, as dictionaries of their columns.

        Args:
            vectors: Whether everything is wanted, or ids and persons only.

        Raises:
            BackendError: The server failed.
        """
        columns = ["reference_id", "person_key"]
        if vectors:
            columns += ["sex", "birth_year", "vector"]
        with failing_closed("read all references"):
            iterator = self._client.query_iterator(
                self.name,
                batch_size=min(self.page, 4096) if vectors else LARGEST_PAGE,
                filter=_REFERENCES_ONLY,
                output_fields=columns,
                consistency_level="Strong",
                timeout=self._timeout_s,
            )
            try:
                while rows := iterator.next():
                    yield list(rows)
            finally:
                iterator.close()

    def position(self) -> int | None:
        """Return the position recorded last, or None where none was: it was never completed.

        Raises:
            BackendError: The server failed.
        """
        return self._kept(_POSITION_ROW)

    def record_position(self, position: int) -> None:
        """Write down how far this collection has come.

        Raises:
            BackendError: The server failed.
        """
        self._keep(_POSITION_ROW, position)

    def writer(self) -> int | None:
        """Return the mark of the process that writes here.

        Raises:
            BackendError: The server failed.
        """
        return self._kept(_WRITER_ROW)

    def claim(self, mark: int) -> None:
        """Leave the mark of the process that writes here from now on.

        Raises:
            BackendError: The server failed.
        """
        self._keep(_WRITER_ROW, mark)

    def compact(self) -> None:
        """Ask the server to write segments anew without what was deleted.

        It does so in the background, and its garbage collector then deletes the old files after
        the time that the server is configured for.

        Raises:
            BackendError: The server failed.
        """
        with failing_closed("compact"):
            self._client.flush(self.name, timeout=self._timeout_s)
            self._client.compact(self.name, timeout=self._timeout_s)

    def _upsert(self, rows: list[dict[str, Any]]) -> None:
        with failing_closed("write"):
            written = self._client.upsert(self.name, rows, timeout=self._timeout_s)
            if written["upsert_count"] != len(rows):
                raise BackendError(f"The server wrote {written['upsert_count']} of {len(rows)} rows.")

    def _keep(self, row: int, value: int) -> None:
        vector = np.zeros(self.dimension, dtype=np.float32)
        vector[0] = 1.0
        self._upsert(
            [{"reference_id": row, "person_key": value, "sex": 0, "birth_year": 0, "vector": vector}]
        )

    def _kept(self, row: int) -> int | None:
        with failing_closed("query"):
            rows = self._client.query(
                self.name,
                filter=f"reference_id == {row}",
                output_fields=["person_key"],
                consistency_level="Strong",
                timeout=self._timeout_s,
            )
            return int(rows[0]["person_key"]) if rows else None

    def _hits(self, hits: Any) -> Hits:
        """Turn the client's answer for one probe into columns."""
        found = list(hits)
        return Hits(
            reference_ids=np.array([hit["reference_id"] for hit in found], dtype=np.int64),
            person_keys=np.array([hit["entity"]["person_key"] for hit in found], dtype=np.int64),
            distances=np.array([hit["distance"] for hit in found], dtype=np.float64),
            vectors=np.array([hit["entity"]["vector"] for hit in found], dtype=np.float32).reshape(
                -1, self.dimension
            ),
        )


@contextmanager
def failing_closed(what: str) -> Iterator[None]:
    """Turn whatever the vendor's client raises into `BackendError`.

    Args:
        what: What was to be done, for the message; the server's own words are not passed on.
    """
    try:
        yield
    except MilvusException as error:
        raise BackendError(f"Milvus did not {what} (code {error.code}): see its log.") from error
    except (grpc.RpcError, OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(f"Milvus did not {what} ({type(error).__name__}): is it reachable?") from error


def _all_of(*conditions: str) -> str:
    return " and ".join(f"({condition})" for condition in conditions if condition)
