"""Model packs whose manifest or models are altered: loaded, or refused as a pack; nothing else, and soon."""

import contextlib
import functools
import hashlib
import resource
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import strategies as st
from onnx import TensorProto

from index.errors import PackError
from index.pack_manifest import read_manifest
from tests.fuzzing import LONGEST_S, Bounds, fuzz, mutated
from tests.synthetic import make_synthetic_pack

PATIENCE_S = 60.0
"""Seconds by the clock for one answer: the machine may be busy; what counts is processor time."""


class Value(Enum):
    """Odd values; an enumeration, so that a finding is printed in one line."""

    NO_FLOAT = "1" + "0" * 400
    DIGITS = "1" * 5000
    NEGATIVE = "-1"
    NAN = "nan"
    INFINITE = "inf"
    TOO_LARGE = "1e999"
    FLAG = "true"
    EMPTY = '""'
    CONTROL = '"\\u0000"'
    LONG = '"' + "x" * 70_000 + '"'
    OUTSIDE = "'../../x.onnx'"
    NO_ITEMS = "[]"
    PAIR = "[1, 2]"
    UNEVEN = "[[0.1, 0.2], [0.3]]"
    HUGE_POINT = "[[0.1, 1" + "0" * 400 + "]]"
    TABLE = "{ a = 1 }"
    DAY = "1979-05-27"
    HEXADECIMAL = "0x7f"
    OPEN = "[" * 5_000
    LISTS = "[" * 2_000 + "]" * 2_000
    TABLES = "{ a = " * 2_000 + "1" + "}" * 2_000


VALUES = st.sampled_from(Value)


FRESH_EVERY = 1000
"""Packs that one process tries: the runtime keeps some memory of every model that it refuses, and tens of
thousands of them fill the address space that `pack_trial` allows."""


class Trial:
    """A process that tries packs, and is started again when one has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._tried = 0

    def of(self, directory: Path) -> str:
        """Let a pack be tried.

        Returns:
            `ok` or `refused`.

        Raises:
            AssertionError: It ended otherwise.
        """
        self._tried += 1
        if self._tried % FRESH_EVERY == 0:
            self.close()
        process = self._process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{directory}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
        answer = process.stdout.readline() if ready else ""
        if not answer:
            self.close()
            raise AssertionError("the pack hung" if not ready else f"the process ended: {process.returncode}")
        seconds, _, end = answer.strip().partition(" ")
        assert end in ("ok", "refused"), end
        assert float(seconds) < LONGEST_S
        return end

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout):
                assert stream is not None
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _started(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.index.pack_trial"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self._process


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    made = Trial()
    yield made
    made.close()


@functools.cache
def seed_files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        make_synthetic_pack(Path(folder), landmarks=True)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@contextmanager
def pack_of(files: dict[str, bytes]) -> Iterator[Path]:
    """Write a pack's files, with the checksums that fit: whoever makes a pack can compute those."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            text = files["pack.toml"]
            if name.endswith(".onnx"):
                old, new = (hashlib.sha256(c).hexdigest().encode() for c in (seed_files()[name], content))
                files["pack.toml"] = text.replace(old, new)
                (Path(folder) / name).write_bytes(content)
        (Path(folder) / "pack.toml").write_bytes(files["pack.toml"])
        yield Path(folder)


def altered_lines(data: st.DataObject, text: str) -> str:
    """Change values, drop, repeat or move lines of a TOML document."""
    lines = text.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["value", "value", "value", "drop", "repeat", "move", "add"])):
            case "value" if "=" in lines[at]:
                lines[at] = lines[at].split("=")[0] + "= " + data.draw(VALUES).value
            case "drop" if len(lines) > 1:
                del lines[at]
            case "repeat":
                lines.insert(at, lines[at])
            case "move":
                lines.insert(data.draw(st.integers(0, len(lines) - 1)), lines.pop(at))
            case _:
                lines.insert(at, "extra = " + data.draw(VALUES).value)
    return "\n".join(lines) + "\n"


def altered_manifest(data: st.DataObject) -> None:
    text = altered_lines(data, seed_files()["pack.toml"].decode())
    content = mutated(data, text.encode(), most=1)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pack.toml").write_bytes(content)
        with contextlib.suppress(PackError):
            assert read_manifest(Path(folder)).contract_id


def _alter_tensor(data: st.DataObject, tensor: Any) -> None:
    match data.draw(st.sampled_from(["raw", "type", "dims", "more", "name"])):
        case "raw":
            tensor.raw_data = mutated(data, tensor.raw_data[:400], most=2)
        case "type":
            tensor.data_type = data.draw(st.integers(0, 23))
        case "dims":
            tensor.dims[:] = data.draw(st.lists(st.sampled_from([0, 1, -1, 3, 2**31, 2**62]), max_size=5))
        case "more":
            tensor.float_data.extend([1.0] * data.draw(st.integers(1, 5)))
        case _:
            tensor.name = data.draw(st.text(max_size=3))


def _alter_node(data: st.DataObject, node: Any) -> None:
    operations = [
        "Conv",
        "Relu",
        "Reshape",
        "Concat",
        "Gather",
        "Slice",
        "MatMul",
        "Identity",
        "Cast",
        "Nothing",
    ]
    match data.draw(st.sampled_from(["operation", "inputs", "outputs", "attribute", "domain"])):
        case "operation":
            node.op_type = data.draw(st.sampled_from(operations))
        case "inputs":
            node.input[:] = data.draw(st.permutations(list(node.input)))[: data.draw(st.integers(0, 4))]
        case "outputs":
            node.output[:] = [*node.output, "more"][data.draw(st.integers(0, 1)) :]
        case "attribute" if node.attribute:
            attribute = node.attribute[data.draw(st.integers(0, len(node.attribute) - 1))]
            attribute.i = data.draw(st.sampled_from([-(2**63), -1, 0, 7, 2**31, 2**63 - 1]))
            attribute.ints[:] = data.draw(st.lists(st.sampled_from([-1, 0, 1, 2, 64, 4096]), max_size=5))
            attribute.type = data.draw(st.sampled_from([attribute.type, 1, 2, 7]))
        case _:
            node.domain = data.draw(st.sampled_from(["", "com.microsoft", "x"]))


def _alter_ends(data: st.DataObject, graph: Any) -> None:
    ends = [*graph.input, *graph.output]
    end = ends[data.draw(st.integers(0, len(ends) - 1))]
    shape = end.type.tensor_type.shape
    match data.draw(st.sampled_from(["type", "shape", "name", "remove"])):
        case "type":
            end.type.tensor_type.elem_type = data.draw(st.sampled_from([0, 1, 7, 8, 11, TensorProto.FLOAT16]))
        case "shape":
            del shape.dim[:]
            for side in data.draw(st.lists(st.sampled_from([-1, 0, 1, 3, 112, 256, 2**40]), max_size=5)):
                shape.dim.add().dim_value = side
        case "name":
            end.name = data.draw(st.text(max_size=3))
        case _ if graph.output:
            del graph.output[-1]
        case _:
            pass


def structured(data: st.DataObject, model: bytes) -> bytes:
    """Change tensors, nodes, inputs and outputs of a model, so that it is read far before it is refused."""
    proto = onnx.load_model_from_string(model)
    for _ in range(data.draw(st.integers(1, 2))):
        graph = proto.graph
        match data.draw(st.sampled_from(["tensor", "node", "ends"])):
            case "tensor":
                _alter_tensor(data, graph.initializer[data.draw(st.integers(0, len(graph.initializer) - 1))])
            case "node":
                _alter_node(data, graph.node[data.draw(st.integers(0, len(graph.node) - 1))])
            case _:
                _alter_ends(data, graph)
    if data.draw(st.integers(0, 9)) == 0:
        proto.ir_version = data.draw(st.sampled_from([0, 3, 99]))
        proto.opset_import[0].version = data.draw(st.sampled_from([1, 11, 999]))
    made: bytes = proto.SerializeToString()
    return made


def altered_models(trial: Trial, data: st.DataObject) -> None:
    files = dict(seed_files())
    name = data.draw(st.sampled_from(sorted(name for name in files if name.endswith(".onnx"))))
    alter = mutated if data.draw(st.integers(0, 2)) == 2 else structured
    files[name] = alter(data, files[name])
    if name == "detector.onnx" and data.draw(st.integers(0, 3)) == 0:  # OpenCV reads this layout itself.
        lines = files["pack.toml"].decode().splitlines()
        kept = [line for line in lines if not line.startswith(("mean = 127", "std = 128"))]
        files["pack.toml"] = "\n".join(kept).replace('"scrfd"', '"yunet"').encode()
    with pack_of(files) as directory:
        trial.of(directory)


def test_an_altered_manifest_is_read_or_refused() -> None:
    fuzz(altered_manifest, Bounds(examples=200))


def test_altered_models_load_or_are_refused_and_bring_nothing_down(trial: Trial) -> None:
    fuzz(functools.partial(altered_models, trial), Bounds(examples=60))


def test_a_process_that_dies_is_noticed(trial: Trial, tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_AS)[1] != 0
    make_synthetic_pack(tmp_path)
    assert trial.of(tmp_path) == "ok"
    (tmp_path / "detector.onnx").write_bytes(b"")
    assert trial.of(tmp_path) == "refused"
