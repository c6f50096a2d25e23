"""The content of a backup: items one after the other, each a line of facts and some bytes.

    4    length of the facts, big-endian
    8    length of the bytes, big-endian
         facts, a JSON object whose `item` says what it is
         bytes

`manifest` comes first and `end` last; between them rows, files, and what happened while it was made.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.backup.container import SealedReader, SealedWriter
from service.backup.errors import BackupError

LONGEST_FACTS = 16 * 2**20
LONGEST_BYTES = 2**30

MANIFEST, TABLE, ROWS, FILE, SINCE, WEIGHTS, ANCHORS, END = (
    "manifest",
    "table",
    "rows",
    "file",
    "since",
    "weights",
    "anchors",
    "end",
)


@dataclass(frozen=True, slots=True)
class Item:
    """One item.

    Attributes:
        kind: What it is.
        facts: Its facts.
        data: Its bytes.
    """

    kind: str
    facts: Mapping[str, Any]
    data: bytes


def write_item(writer: SealedWriter, kind: str, data: bytes = b"", **facts: Any) -> None:
    """Append an item."""
    told = json.dumps({"item": kind, **facts}, ensure_ascii=False).encode()
    writer.write(len(told).to_bytes(4, "big") + len(data).to_bytes(8, "big") + told)
    writer.write(data)


def read_items(reader: SealedReader) -> Iterator[Item]:
    """Yield all items, the manifest first and the end last.

    Raises:
        BackupError: Damaged, or not in this order.
    """
    item = _next(reader)
    if item.kind != MANIFEST:
        raise BackupError("the backup is damaged: it does not begin with its manifest")
    while item.kind != END:
        yield item
        item = _next(reader)
    reader.require_end()
    yield item


def _next(reader: SealedReader) -> Item:
    length = int.from_bytes(reader.read(4), "big")
    size = int.from_bytes(reader.read(8), "big")
    if length > LONGEST_FACTS or size > LONGEST_BYTES:
        raise BackupError("the backup is damaged: an item is too long")
    try:
        facts = json.loads(reader.read(length))
        kind = str(facts.pop("item"))
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise BackupError("the backup is damaged: an item cannot be read") from error
    return Item(kind, facts, reader.read(size))
