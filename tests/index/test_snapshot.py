"""Generations: complete or absent, checked to the byte, switched and rolled back atomically."""

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest

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
from index.types import Rate, Reference, References

DIMENSION = 16
PACK = "pack-a"


def some_references(count: int, *, seed: int = 0) -> References:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    records = [
        Reference(i, person_key=1 + i // 2, sex=i % 3, birth_year=1950 + i % 60) for i in range(1, count + 1)
    ]
    return References.of(records, vectors)


write = partial(write_generation, contract_id=PACK, position=5, gallery="flagged")


class XorCipher:
    """Not encryption: changes every byte, and refuses another context or an altered text."""

    def seal(self, plain: bytes, *, context: bytes) -> bytes:
        return bytes([len(context)]) + context + bytes(b ^ 0x5A for b in plain)

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        if sealed[1 : 1 + sealed[0]] != context:
            raise ValueError("sealed for another place")
        return bytes(b ^ 0x5A for b in sealed[1 + sealed[0] :])

    def open_into(self, sealed: memoryview, target: memoryview, *, context: bytes) -> None:
        target[:] = self.open(bytes(sealed), context=context)


@pytest.mark.parametrize("count", [0, 1, 7, 300])
@pytest.mark.parametrize("cipher", [None, XorCipher()], ids=["plain", "sealed"])
def test_what_was_written_is_loaded_unchanged(tmp_path: Path, count: int, cipher: XorCipher | None) -> None:
    references = some_references(count)
    made = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    recall = Rate(1.0, 0.99, 1.0, 500)
    generation = write(
        tmp_path / "new" / "flagged",
        references,
        extra={"seconds": 1.5},
        created_at=made,
        recall=recall,
        cipher=cipher,
    )
    loaded, manifest = load_generation(generation, contract_id=PACK, cipher=cipher)
    for name in ("reference_ids", "person_keys", "sexes", "birth_years", "vectors"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(references, name))
        assert getattr(loaded, name).dtype == getattr(references, name).dtype
    assert (manifest.references, manifest.persons) == (count, len(set(references.person_keys.tolist())))
    assert (manifest.gallery, manifest.contract_id, manifest.position) == ("flagged", PACK, 5)
    assert (manifest.created_at, manifest.recall, manifest.extra) == (made, recall, {"seconds": 1.5})


def test_sealed_files_hold_no_plain_vector_and_need_the_cipher(tmp_path: Path) -> None:
    references = some_references(20)
    generation = write(tmp_path, references, cipher=XorCipher())
    assert references.vectors[3].tobytes() not in (generation / "vectors.npy").read_bytes()
    with pytest.raises(GenerationError, match="encrypted"):
        load_generation(generation, contract_id=PACK)
    plain = write(tmp_path, references)
    with pytest.raises(GenerationError, match="not encrypted"):
        load_generation(plain, contract_id=PACK, cipher=XorCipher())


def test_a_generation_of_another_pack_is_refused_by_name(tmp_path: Path) -> None:
    generation = write(tmp_path, some_references(3))
    with pytest.raises(GenerationError, match=r"pack-a.*pack-b"):
        load_generation(generation, contract_id="pack-b")


FILES = ["reference_ids.npy", "person_keys.npy", "sexes.npy", "birth_years.npy", "vectors.npy"]


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_in_any_file_is_found_and_named(tmp_path: Path, name: str) -> None:
    generation = write(tmp_path, some_references(9))
    data = bytearray((generation / name).read_bytes())
    data[-1] ^= 1
    (generation / name).write_bytes(data)
    with pytest.raises(GenerationError, match=name):
        load_generation(generation, contract_id=PACK)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_missing_file_is_found_and_named(tmp_path: Path, name: str) -> None:
    generation = write(tmp_path, some_references(9))
    (generation / name).write_bytes((generation / name).read_bytes()[:-3])
    with pytest.raises(GenerationError, match=name):
        load_generation(generation, contract_id=PACK)
    (generation / name).unlink()
    with pytest.raises(GenerationError, match=name):
        load_generation(generation, contract_id=PACK)


@pytest.mark.parametrize(
    ("key", "value"), [("position", 6), ("contract_id", "pack-b"), ("persons", 1), ("gallery", "registered")]
)
def test_an_edited_manifest_is_refused(tmp_path: Path, key: str, value: object) -> None:
    generation = write(tmp_path, some_references(9))
    path = generation / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(GenerationError, match="checksum"):
        load_generation(generation, contract_id=PACK)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "{", '{"manifest_sha256": 1, "format_version": 99}']
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    generation = write(tmp_path, some_references(2))
    (generation / "manifest.json").write_text(text)
    with pytest.raises(GenerationError):
        load_generation(generation, contract_id=PACK)
    (generation / "manifest.json").unlink()
    with pytest.raises(GenerationError, match="manifest"):
        load_generation(generation, contract_id=PACK)


def test_repeated_reference_ids_are_never_written(tmp_path: Path) -> None:
    good = some_references(4)
    bad = References(np.array([1, 2, 2, 3]), good.person_keys, good.sexes, good.birth_years, good.vectors)
    with pytest.raises(GenerationError, match="ascend"):
        write(tmp_path, bad)
    assert generations(tmp_path) == []


def test_nothing_is_active_before_the_first_activation(tmp_path: Path) -> None:
    assert current(tmp_path / "missing") is None
    write(tmp_path, some_references(2))
    assert current(tmp_path) is None


def test_activation_switches_and_rollback_goes_back_step_by_step(tmp_path: Path) -> None:
    first, second, third = (write(tmp_path, some_references(n)) for n in (1, 2, 3))
    for generation in (first, second, third):
        activate(tmp_path, generation)
        assert current(tmp_path) == generation
    assert rollback(tmp_path) == second
    assert rollback(tmp_path) == first
    assert current(tmp_path) == first
    with pytest.raises(GenerationError, match="no earlier"):
        rollback(tmp_path)


def test_after_a_rollback_the_next_generation_remembers_where_it_came_from(tmp_path: Path) -> None:
    first, second = write(tmp_path, some_references(1)), write(tmp_path, some_references(2))
    activate(tmp_path, first)
    activate(tmp_path, second)
    rollback(tmp_path)
    third = write(tmp_path, some_references(3))
    activate(tmp_path, third)
    assert rollback(tmp_path) == first


def test_activating_the_active_generation_again_changes_nothing(tmp_path: Path) -> None:
    first, second = write(tmp_path, some_references(1)), write(tmp_path, some_references(2))
    activate(tmp_path, first)
    activate(tmp_path, second)
    activate(tmp_path, second)
    assert rollback(tmp_path) == first


def test_a_generation_that_lost_candidates_is_not_activated(tmp_path: Path) -> None:
    generation = write(tmp_path, some_references(5), recall=Rate(0.9998, 0.99, 1.0, 5000))
    with pytest.raises(GenerationError, match=r"recall 0\.9998"):
        activate(tmp_path, generation)
    assert current(tmp_path) is None


def test_a_folder_that_is_no_generation_of_this_gallery_is_not_activated(tmp_path: Path) -> None:
    other = write(tmp_path / "other", some_references(2))
    (tmp_path / "mine").mkdir()
    with pytest.raises(GenerationError, match="not a generation"):
        activate(tmp_path / "mine", other)
    with pytest.raises(GenerationError, match="manifest"):
        activate(tmp_path / "mine", tmp_path / "mine" / "generation-00000001-00000000")


@pytest.mark.parametrize(
    "text", ["", "{}", '{"current": "../../etc", "previous": []}', '{"current": 1, "previous": []}', "[1]"]
)
def test_a_broken_pointer_is_an_error_and_never_an_empty_gallery(tmp_path: Path, text: str) -> None:
    activate(tmp_path, write(tmp_path, some_references(2)))
    (tmp_path / "active.json").write_text(text)
    with pytest.raises(GenerationError, match="active"):
        current(tmp_path)


def test_pruning_keeps_the_active_the_last_ones_and_what_waits_for_activation(tmp_path: Path) -> None:
    made = [write(tmp_path, some_references(n)) for n in range(1, 6)]
    for generation in made[:4]:
        activate(tmp_path, generation)
    deleted = prune(tmp_path, keep=1)
    assert deleted == made[:2]
    assert generations(tmp_path) == made[2:]
    assert rollback(tmp_path) == made[2]
    with pytest.raises(GenerationError, match="no earlier"):
        rollback(tmp_path)


def test_names_are_never_used_twice_even_after_pruning(tmp_path: Path) -> None:
    names = set()
    for n in range(1, 6):
        generation = write(tmp_path, some_references(n))
        activate(tmp_path, generation)
        prune(tmp_path, keep=0)
        names.add(generation.name)
    assert len(names) == 5
    assert sorted(names) == sorted(names, key=lambda name: int(name.split("-")[1]))


def test_leftovers_of_dead_writers_are_removed_and_generations_stay(tmp_path: Path) -> None:
    generation = write(tmp_path, some_references(2))
    for name in (".building-0123", ".deleted-generation-00000001-00000000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vectors.npy").write_bytes(b"x")
    clean(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", generation.name]
    clean(tmp_path / "missing")


def test_a_full_disk_leaves_no_generation_behind(tmp_path: Path) -> None:
    """A limit on file size stands for the full disk: the write fails half-way."""
    program = f"""
import resource, signal, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {str(Path.cwd())!r})
from index.snapshot import write_generation
from tests.index.test_snapshot import some_references
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_generation(Path({str(tmp_path)!r}), some_references(2000), contract_id="p", position=1, gallery="g")
except OSError:
    sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == 7
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


CRASHING = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from index.snapshot import activate, clean, current, generations, load_generation, prune, write_generation
from tests.index.test_snapshot import some_references

directory = Path({directory!r})
activate(directory, write_generation(directory, some_references(3), contract_id="p", position=3, gallery="g"))

def work():
    generation = write_generation(directory, some_references(4), contract_id="p", position=4, gallery="g")
    activate(directory, generation)
    prune(directory, keep=1)

def dying(after):
    calls = 0
    def count(frame, event, argument):
        nonlocal calls
        if event == "c_call" and getattr(argument, "__module__", "") in ("posix", "fcntl", "_io", None):
            calls += 1
            if calls == after:
                os._exit(9)
    sys.setprofile(count)
    work()
    sys.setprofile(None)
    os._exit(0)

rounds, step = 0, 0
while True:
    step += 1 + step // 12
    child = os.fork()
    if child == 0:
        dying(step)
    finished = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    references, manifest = load_generation(current(directory), contract_id="p")
    assert manifest.position == len(references) and manifest.position in (3, 4), step
    assert manifest.position == 4 or not finished
    clean(directory)
    for generation in generations(directory):
        load_generation(generation, contract_id="p")
    hidden = [path.name for path in directory.iterdir() if path.name.startswith((".building", ".deleted"))]
    assert hidden == [], step
    rounds += 1
    if finished:
        break
    for generation in generations(directory):
        if load_generation(generation, contract_id="p")[1].position == 3:
            activate(directory, generation)
            break
print(rounds)
"""


def test_death_at_any_instruction_leaves_a_complete_active_generation(tmp_path: Path) -> None:
    """A child dies at its n-th system-level call, for n growing until it finishes."""
    program = CRASHING.format(root=str(Path.cwd()), directory=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def with_checksum(values: dict[str, object]) -> bytes:
    """Write a manifest whose checksum fits, as anybody can who knows its form."""
    kept = {name: value for name, value in values.items() if name != "manifest_sha256"}
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return json.dumps(kept | {"manifest_sha256": hashlib.sha256(canonical.encode()).hexdigest()}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"created_at": None},
        {"created_at": "yesterday"},
        {"files": []},
        {"files": {"vectors.npy": {"sha256": 1}}},
        {"files": {"vectors.npy": {"sha256": "", "size_bytes": "9"}}},
        {"recall": 5},
        {"position": "5"},
        {"position": -1},
        {"references": 2**70},
        {"dimension": 0},
        {"dimension": 34080},
        {"sealed": 0},
        {"gallery": "\ud800"},
        {"another": 1},
    ],
    ids=str,
)
def test_a_manifest_with_a_fitting_checksum_that_says_nonsense_is_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    generation = write(tmp_path, some_references(3))
    path = generation / "manifest.json"
    path.write_bytes(with_checksum(json.loads(path.read_bytes()) | changes))
    with pytest.raises(GenerationError, match="says something that none says"):
        load_generation(generation, contract_id=PACK)


@pytest.mark.parametrize("name", ["manifest.json", "active.json"])
@pytest.mark.parametrize("content", [b"[" * 100_000, b" " * 2**21], ids=["deep", "endless"])
def test_json_that_would_exhaust_the_reader_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    generation = write(tmp_path, some_references(3))
    activate(tmp_path, generation)
    (generation / name if name == "manifest.json" else tmp_path / name).write_bytes(content)
    with pytest.raises(GenerationError):
        load_generation(current(tmp_path) or generation, contract_id=PACK)


@pytest.mark.parametrize(
    "header",
    [b"{'descr': '<i8', 'fortran_order': False, 'shape': (", b"__import__('os')", b"{'shape': (3,), }\n"],
)
def test_a_column_whose_header_is_not_ours_is_refused_without_being_evaluated(
    tmp_path: Path, header: bytes
) -> None:
    generation = write(tmp_path, some_references(3))
    path, manifest = generation / "person_keys.npy", generation / "manifest.json"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(24)
    path.write_bytes(content)
    values = json.loads(manifest.read_bytes())
    values["files"][path.name] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    manifest.write_bytes(with_checksum(values))
    with pytest.raises(GenerationError, match="no column that can be read"):
        load_generation(generation, contract_id=PACK)
