"""Generations whose files, manifest and pointer are altered: loaded unchanged, or refused as a generation."""

import contextlib
import functools
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import strategies as st

from index.errors import GenerationError
from index.snapshot import (
    activate,
    clean,
    current,
    generations,
    load_generation,
    prune,
    rollback,
    write_generation,
)
from tests.fuzzing import Bounds, fuzz, mutated
from tests.index.test_snapshot import PACK, some_references

REFERENCES = some_references(7)
COLUMNS = ("reference_ids", "person_keys", "sexes", "birth_years", "vectors")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
ODD_VALUES = JSON_VALUES | st.sampled_from(
    [10**30, -1, 2**63, "../../../etc/passwd", "x" * 10_000, "2026-99-99", "\ud800", 0, 1e308, {"sha256": 1}]
)


class Depth(Enum):
    """What is put before a JSON document, so that it is deep or endless."""

    NOTHING = b""
    LISTS = b"[" * 100_000
    TABLES = b'{"a":' * 100_000
    BLANKS = b" " * 2**21


DEPTHS = st.sampled_from([Depth.NOTHING, Depth.NOTHING, Depth.LISTS, Depth.TABLES, Depth.BLANKS])


class Gcm:
    """A real cipher, so that what is found is not the fault of an imitation."""

    def __init__(self) -> None:
        self._key = AESGCM(b"k" * 32)
        self._count = 0

    def seal(self, plain: bytes, *, context: bytes) -> bytes:
        self._count += 1
        nonce = self._count.to_bytes(12, "big")
        return nonce + self._key.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        try:
            return self._key.decrypt(sealed[:12], sealed[12:], context)
        except Exception as error:
            raise ValueError("altered") from error

    def open_into(self, sealed: memoryview, target: memoryview, *, context: bytes) -> None:
        plain = self.open(bytes(sealed), context=context)
        if len(plain) != len(target):
            raise ValueError("another length")
        target[:] = plain


@functools.cache
def seed_files(*, sealed: bool) -> dict[str, bytes]:
    """Return every file of a gallery with two generations, the second active; written once."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        for _ in range(2):
            cipher = Gcm() if sealed else None
            activate(
                directory,
                write_generation(
                    directory, REFERENCES, contract_id=PACK, position=5, gallery="flagged", cipher=cipher
                ),
            )
        return {
            str(path.relative_to(directory)): path.read_bytes()
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        }


@contextmanager
def written(*, sealed: bool) -> Iterator[Path]:
    """Give the folder of a gallery with two generations, the second active."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "flagged"
        for name, content in seed_files(sealed=sealed).items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(content)
        yield directory


def altered_values(data: st.DataObject, values: Any) -> Any:
    """Exchange, remove or add something somewhere in a JSON document."""
    if isinstance(values, dict) and values and data.draw(st.integers(0, 3)):
        name = data.draw(st.sampled_from(sorted(values)))
        match data.draw(st.sampled_from(["inside", "inside", "remove", "add"])):
            case "inside":
                return {**values, name: altered_values(data, values[name])}
            case "remove":
                return {key: value for key, value in values.items() if key != name}
            case _:
                return {**values, data.draw(st.text(max_size=8)): data.draw(ODD_VALUES)}
    return data.draw(ODD_VALUES)


def signed(values: Any) -> bytes:
    """Return a manifest whose own checksum fits, whatever it says: anybody can compute that."""
    if not isinstance(values, dict):
        return json.dumps(values).encode()
    values = {key: value for key, value in values.items() if key != "manifest_sha256"}
    canonical = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return json.dumps(values | {"manifest_sha256": hashlib.sha256(canonical.encode()).hexdigest()}).encode()


def alter_manifest(data: st.DataObject, generation: Path) -> None:
    path = generation / "manifest.json"
    path.write_bytes(signed(altered_values(data, json.loads(path.read_bytes()))))


def alter_manifest_bytes(data: st.DataObject, generation: Path) -> None:
    path = generation / "manifest.json"
    path.write_bytes(data.draw(DEPTHS).value + mutated(data, path.read_bytes()))


def alter_column(data: st.DataObject, generation: Path) -> None:
    """Change a column, and let the manifest know, as somebody with the disk but without the key would."""
    path = generation / f"{data.draw(st.sampled_from(COLUMNS))}.npy"
    path.write_bytes(mutated(data, path.read_bytes()))
    if data.draw(st.booleans()):
        manifest = json.loads((generation / "manifest.json").read_bytes())
        content = path.read_bytes()
        record = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        manifest["files"][path.name] = record
        (generation / "manifest.json").write_bytes(signed(manifest))


def alter_seal(data: st.DataObject, generation: Path) -> None:
    path = generation / "manifest.seal"
    if path.exists():
        path.write_bytes(mutated(data, path.read_bytes()))


def exchange_files(data: st.DataObject, generation: Path) -> None:
    names = st.sampled_from(sorted(path.name for path in generation.iterdir()))
    one, other = generation / data.draw(names), generation / data.draw(names)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


ALTERATIONS: list[Callable[[st.DataObject, Path], None]] = [
    alter_manifest,
    alter_manifest_bytes,
    alter_column,
    alter_seal,
    exchange_files,
]


def altered_generation(data: st.DataObject) -> None:
    sealed = data.draw(st.booleans())
    cipher = Gcm() if sealed else None
    with written(sealed=sealed) as directory:
        generation = generations(directory)[-1]
        data.draw(st.sampled_from(ALTERATIONS))(data, generation)
        with contextlib.suppress(GenerationError):
            loaded, _ = load_generation(generation, contract_id=PACK, cipher=cipher)
            for name in COLUMNS if sealed else ():
                np.testing.assert_array_equal(getattr(loaded, name), getattr(REFERENCES, name))


def altered_pointer(data: st.DataObject) -> None:
    with written(sealed=False) as directory:
        path = directory / "active.json"
        values = altered_values(data, json.loads(path.read_bytes()))
        path.write_bytes(data.draw(DEPTHS).value + mutated(data, json.dumps(values).encode(), most=2))
        if data.draw(st.booleans()):
            alter_manifest(data, generations(directory)[data.draw(st.integers(0, 1))])
        steps: list[Callable[[], object]] = [
            lambda: current(directory),
            lambda: rollback(directory),
            lambda: clean(directory),
            lambda: prune(directory, keep=1),
        ]
        for step in data.draw(st.permutations(steps)):
            with contextlib.suppress(GenerationError):
                found = step()
                assert not isinstance(found, Path) or found.parent == directory


def test_an_altered_generation_is_refused_or_loads_what_was_written() -> None:
    fuzz(altered_generation, Bounds(examples=120))


def test_an_altered_pointer_leads_nowhere_else() -> None:
    fuzz(altered_pointer, Bounds(examples=80))
