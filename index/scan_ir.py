"""The scan over 4-bit codes as LLVM's intermediate code, for processors with AVX2.

A *block* is 32 references: for each byte of their codes 32 bytes stand together, one of every
reference. A byte names two of 16 points, and what a probe gives for each of them lies in a table of 16
small numbers, so one instruction (`vpshufb`) looks up 32 references at once. All sums stay in registers:

- Tables hold numbers up to `TOP`, so that `LOOKUPS` of them fit a byte and are added as bytes; only those
  sums are widened to 16 bits. FAISS's tables use all 8 bits, so that every single lookup is widened.
- `WIDEST` probes look up the same codes together, which are loaded and taken apart once for all of them.
- All probes pass over some blocks that fit the second-level cache before the next ones are read.

What a reference sums up to is held against the probe's cut there and then, and only what is not below it is
written down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

BLOCK = 32
"""References side by side: bytes of an AVX2 register."""

LOOKUPS = 4
"""Lookups added as bytes. Two take 7 % more time and leave finer tables, eight take 4 % less."""

TOP = 255 // LOOKUPS
"""Largest number in a table, 63."""

BYTES = LOOKUPS // 2
"""Code bytes that such a sum takes; a vector's codes are filled up to a multiple of this."""

WIDEST = 4
"""Probes that look up together: their sums fill 12 of the 16 registers (5: 4 % faster, 8: 4 % slower)."""

WIDTHS = (1, 2, WIDEST)
"""Numbers of probes for which there is code of its own."""

_TILE_BYTES = 176 * 1024
"""Codes that all probes pass over before the next are read: a third of a core's second-level cache."""

_AHEAD = 2048
"""Bytes of codes that are asked for ahead where few probes wait for memory: scanning 34 MB that are in
no cache takes a quarter less (512 ahead an eighth; from 1,024 to 16,384 the same within 8 %)."""

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_BYTES32, _WORDS16, _TABLE = ir.VectorType(_I8, 32), ir.VectorType(_I16, 16), ir.VectorType(_I8, 16)
_POINTER = _I8.as_pointer()

Value = Any
"""llvmlite has no annotations."""


def scan_module() -> str:
    """Return the text of a module with `above_1`, `above_2`, `above_4` and `sums`.

    All arrays are aligned to 32 bytes. `above_w(codes, blocks, runs, tables, passes, cuts, capacity, rows,
    sums, counts)` scans for `passes` times w probes; `runs` is the code bytes of a vector over `BYTES`.
    The tables of a pass are of shape (runs, BYTES, 2, w, 16), bytes, the low half of a code byte first.
    Cuts are of 16 bits, one for each probe. Rows (32 bits) and sums (16 bits) of shape (probes, capacity)
    take what is not below its cut, by ascending row; counts (64 bits, zero at the start) how many that
    are, also where there was no room for them. `sums(codes, blocks, runs, tables, sums)` writes the sums
    of all references for one probe.
    """
    module = ir.Module("scan")
    for width in WIDTHS:
        _tiled(module, _blocks_above(module, width), width)
    _all_sums(module)
    return str(module)


def _instruction(module: Value, name: str, kind: Value) -> Value:
    """Return the function by which LLVM knows an instruction of the processor."""
    return module.globals.get(name) or ir.Function(module, kind, name=name)


def _function(
    module: Value, name: str, arguments: Sequence[tuple[str, Value]]
) -> tuple[Value, dict[str, Value]]:
    """Begin a function without a result whose arrays do not overlap."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [kind for _, kind in arguments]), name=name)
    for argument, (_, kind) in zip(function.args, arguments, strict=True):
        if isinstance(kind, ir.PointerType):
            argument.add_attribute("noalias")
    return function, {named: value for (named, _), value in zip(arguments, function.args, strict=True)}


class _Loop:
    """Counts from 0 to a number above 0 in steps; a context manager around what is repeated."""

    def __init__(self, builder: Value, stop: Value, *, step: Value | None = None) -> None:
        self._builder, self._stop, self._step = builder, stop, step or _I64(1)
        before = builder.block
        self._start = builder.append_basic_block("loop")
        builder.branch(self._start)
        builder.position_at_end(self._start)
        self.at = builder.phi(_I64)
        self.at.add_incoming(_I64(0), before)
        self._carried: list[tuple[Value, Value]] = []
        self._before = before

    def carry(self, first: Value) -> Value:
        """Return a value that goes from turn to turn, before anything else is put into the loop."""
        value = self._builder.phi(first.type)
        value.add_incoming(first, self._before)
        return value

    def next(self, value: Value, following: Value) -> None:
        """Set what a carried value is in the next turn."""
        self._carried.append((value, following))

    def __enter__(self) -> "_Loop":
        return self

    def __exit__(self, *_: object) -> None:
        builder = self._builder
        following = builder.add(self.at, self._step)
        again = builder.icmp_unsigned("<", following, self._stop)
        self.at.add_incoming(following, builder.block)
        for value, later in self._carried:
            value.add_incoming(later, builder.block)
        after = builder.append_basic_block("after")
        builder.cbranch(again, self._start, after)
        builder.position_at_end(after)


def _splat(kind: Value, number: int) -> Value:
    """Return a vector of one number."""
    return ir.Constant(kind, [number] * kind.count)


def _spread(builder: Value, value: Value, kind: Value, lanes: int) -> Value:
    """Return a vector made of the first `lanes` elements of another, again and again."""
    pattern = ir.Constant(ir.VectorType(_I32, kind.count), [lane % lanes for lane in range(kind.count)])
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), pattern)


def _load(builder: Value, array: Value, at: Value, kind: Value, *, align: int) -> Value:
    """Load a vector that begins at some byte."""
    return builder.load(builder.bitcast(builder.gep(array, [at]), kind.as_pointer()), align=align)


def _shifted(builder: Value, value: Value, bits: int) -> Value:
    """Shift every 16-bit word right."""
    return builder.lshr(value, _splat(_WORDS16, bits))


@dataclass(frozen=True, slots=True)
class _Scanner:
    """What the code of one block for some probes is made from."""

    builder: Value
    lookup: Value
    prefetch: Value
    width: int

    @staticmethod
    def of(builder: Value, width: int) -> "_Scanner":
        """Take the instructions needed into the builder's module."""
        lookup = ir.FunctionType(_BYTES32, [_BYTES32, _BYTES32])
        prefetch = ir.FunctionType(ir.VoidType(), [_POINTER, _I32, _I32, _I32])
        return _Scanner(
            builder,
            _instruction(builder.module, "llvm.x86.avx2.pshuf.b", lookup),
            _instruction(builder.module, "llvm.prefetch.p0", prefetch),
            width,
        )

    def block_sums(self, codes: Value, tables: Value, runs: Value) -> list[tuple[Value, Value]]:
        """Sum up a block for every probe: two vectors of 16 references each.

        A vector of byte sums is added up twice: as words, whose low byte is that of an even place, and by
        its high bytes, those of odd places. What those add to the words is taken off at the end. The order
        of references in a block makes even places the first 16 of them.
        """
        builder, zero = self.builder, _splat(_WORDS16, 0)
        with _Loop(builder, runs) as loop:
            words = [loop.carry(zero) for _ in range(self.width)]
            highs = [loop.carry(zero) for _ in range(self.width)]
            codes = builder.gep(codes, [builder.mul(loop.at, _I64(BYTES * BLOCK))])
            if self.width < WIDEST:  # A run is a line of the cache.
                ahead = builder.gep(codes, [_I64(_AHEAD)])
                builder.call(self.prefetch, [ahead, _I32(0), _I32(3), _I32(1)])
            sums = self._byte_sums(
                codes,
                builder.gep(tables, [builder.mul(loop.at, _I64(LOOKUPS * self.width * 16))]),
            )
            added = [builder.add(word, one) for word, one in zip(words, sums, strict=True)]
            lifted = [
                builder.add(high, _shifted(builder, one, 8)) for high, one in zip(highs, sums, strict=True)
            ]
            for value, following in zip(words + highs, added + lifted, strict=True):
                loop.next(value, following)
        eight = _splat(_WORDS16, 8)
        return [
            (builder.sub(word, builder.shl(high, eight)), high)
            for word, high in zip(added, lifted, strict=True)
        ]

    def _byte_sums(self, codes: Value, tables: Value) -> list[Value]:
        """Look up `BYTES` code bytes of a block for every probe: sums of bytes, two in a 16-bit word."""
        builder, nibble = self.builder, _splat(_BYTES32, 15)
        sums: list[Value] = [None] * self.width
        for byte in range(BYTES):
            pairs = _load(builder, codes, _I64(byte * BLOCK), _BYTES32, align=32)
            high = builder.bitcast(_shifted(builder, builder.bitcast(pairs, _WORDS16), 4), _BYTES32)
            for half, halves in enumerate((pairs, high)):
                places = builder.and_(halves, nibble)
                for probe in range(self.width):
                    at = ((byte * 2 + half) * self.width + probe) * 16
                    table = _spread(builder, _load(builder, tables, _I64(at), _TABLE, align=16), _BYTES32, 16)
                    found = builder.call(self.lookup, [table, places])
                    sums[probe] = found if sums[probe] is None else builder.add(sums[probe], found)
        return [builder.bitcast(one, _WORDS16) for one in sums]


def _blocks_above(module: Value, width: int) -> Value:
    """Write the function that scans some blocks for `width` probes."""
    function, given = _function(
        module,
        f"blocks_above_{width}",
        [
            ("codes", _POINTER),
            ("blocks", _I64),
            ("runs", _I64),
            ("tables", _POINTER),
            *_FOUND,
            ("first", _I64),
        ],
    )
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    room = builder.alloca(ir.ArrayType(_I16, BLOCK))
    room.align = 32
    block_bytes = builder.mul(given["runs"], _I64(BYTES * BLOCK))
    with _Loop(builder, given["blocks"]) as loop:
        codes = builder.gep(given["codes"], [builder.mul(loop.at, block_bytes)])
        row = builder.shl(builder.add(given["first"], loop.at), _I64(BLOCK.bit_length() - 1))
        both = _Scanner.of(builder, width).block_sums(codes, given["tables"], given["runs"])
        for probe, sums in enumerate(both):
            _write_down(builder, given, probe=probe, sums=sums, row=row, room=room)
    builder.ret_void()
    return function


_FOUND = (
    ("cuts", _I16.as_pointer()),
    ("capacity", _I64),
    ("rows", _I32.as_pointer()),
    ("sums", _I16.as_pointer()),
    ("counts", _I64.as_pointer()),
)


def _write_down(
    builder: Value, given: dict[str, Value], *, probe: int, sums: tuple[Value, Value], row: Value, room: Value
) -> None:
    """Write down which references of a block are not below a probe's cut, and their sums."""
    cut = builder.load(builder.gep(given["cuts"], [_I64(probe)]))
    cut = builder.insert_element(ir.Constant(_WORDS16, ir.Undefined), cut, _I32(0))
    cut = _spread(builder, cut, _WORDS16, 1)
    first, second = (
        builder.zext(builder.bitcast(builder.icmp_unsigned(">=", part, cut), _I16), _I32) for part in sums
    )
    mask = builder.or_(first, builder.shl(second, _I32(16)))
    with builder.if_then(builder.icmp_unsigned("!=", mask, _I32(0)), likely=False):
        stored = builder.bitcast(room, _WORDS16.as_pointer())
        for half, part in enumerate(sums):
            builder.store(part, builder.gep(stored, [_I64(half)]), align=32)
        counter = builder.gep(given["counts"], [_I64(probe)])
        before = builder.load(counter)
        hits = builder.zext(builder.ctpop(mask), _I64)
        with _Loop(builder, hits) as loop:
            left = loop.carry(mask)
            place = builder.zext(builder.cttz(left, ir.Constant(_I1, 1)), _I64)
            count = builder.add(before, loop.at)
            with builder.if_then(builder.icmp_unsigned("<", count, given["capacity"])):
                to = builder.add(count, builder.mul(given["capacity"], _I64(probe)))
                builder.store(builder.trunc(builder.add(row, place), _I32), builder.gep(given["rows"], [to]))
                found = builder.load(builder.gep(room, [_I64(0), place]))
                builder.store(found, builder.gep(given["sums"], [to]))
            loop.next(left, builder.and_(left, builder.sub(left, _I32(1))))
        builder.store(builder.add(before, hits), counter)


def _tiled(module: Value, blocks_above: Value, width: int) -> None:
    """Write the function that lets all probes pass over some blocks before the next ones."""
    function, given = _function(
        module,
        f"above_{width}",
        [
            *(("codes", _POINTER), ("blocks", _I64), ("runs", _I64), ("tables", _POINTER), ("passes", _I64)),
            *_FOUND,
        ],
    )
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    block_bytes = builder.mul(given["runs"], _I64(BYTES * BLOCK))
    tile = builder.udiv(_I64(_TILE_BYTES), block_bytes)
    tile = builder.select(builder.icmp_unsigned("==", tile, _I64(0)), _I64(1), tile)
    with _Loop(builder, given["blocks"], step=tile) as tiles:
        left = builder.sub(given["blocks"], tiles.at)
        blocks = builder.select(builder.icmp_unsigned("<", left, tile), left, tile)
        codes = builder.gep(given["codes"], [builder.mul(tiles.at, block_bytes)])
        with _Loop(builder, given["passes"]) as passes:
            probe = builder.mul(passes.at, _I64(width))
            tables = builder.mul(builder.mul(probe, given["runs"]), _I64(LOOKUPS * 16))
            found = builder.mul(probe, given["capacity"])
            builder.call(
                blocks_above,
                [
                    *(codes, blocks, given["runs"], builder.gep(given["tables"], [tables])),
                    *(builder.gep(given["cuts"], [probe]), given["capacity"]),
                    *(builder.gep(given[name], [found]) for name in ("rows", "sums")),
                    *(builder.gep(given["counts"], [probe]), tiles.at),
                ],
            )
    builder.ret_void()


def _all_sums(module: Value) -> None:
    """Write the function that returns every sum for one probe."""
    function, given = _function(
        module,
        "sums",
        [("codes", _POINTER), ("blocks", _I64), ("runs", _I64), ("tables", _POINTER), ("sums", _POINTER)],
    )
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    block_bytes = builder.mul(given["runs"], _I64(BYTES * BLOCK))
    with _Loop(builder, given["blocks"]) as loop:
        codes = builder.gep(given["codes"], [builder.mul(loop.at, block_bytes)])
        (both,) = _Scanner.of(builder, 1).block_sums(codes, given["tables"], given["runs"])
        for half, part in enumerate(both):
            at = builder.add(builder.mul(loop.at, _I64(2 * BLOCK)), _I64(half * BLOCK))
            to = builder.bitcast(builder.gep(given["sums"], [at]), _WORDS16.as_pointer())
            builder.store(part, to, align=32)
    builder.ret_void()
