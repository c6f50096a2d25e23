"""Machine code for the scan, made at run time for this processor, where that can be.

It needs AVX2, and a system that lets a process make memory executable: some hardened ones
(SELinux without `execmem`, systemd's `MemoryDenyWriteExecute`) do not. Elsewhere
`index.faiss_scan` serves, with the same answers in about twice the time.
"""

import ctypes
import mmap
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from llvmlite import binding as llvm

from index.scan_ir import WIDTHS, scan_module

_ADDRESS, _NUMBER = ctypes.c_void_p, ctypes.c_int64

_ABOVE = ctypes.CFUNCTYPE(
    None,
    *(_ADDRESS, _NUMBER, _NUMBER, _ADDRESS, _NUMBER),
    *(_ADDRESS, _NUMBER, _ADDRESS, _ADDRESS, _ADDRESS),
)
_SUMS = ctypes.CFUNCTYPE(None, _ADDRESS, _NUMBER, _NUMBER, _ADDRESS, _ADDRESS)

_OPTIMISED = 3
"""LLVM's highest level, for both the code's form and its instructions."""

_making = threading.Lock()


@dataclass(frozen=True, slots=True)
class ScanCode:
    """Functions of `index.scan_ir`, callable; they let other threads run meanwhile.

    Attributes:
        above: By the number of probes that look up together.
        sums: All sums of one probe.
        kept: What keeps the code in memory.
    """

    above: Mapping[int, Callable[..., None]]
    sums: Callable[..., None]
    kept: object


def scan_code() -> ScanCode | None:
    """Return the functions, made at the first call (a fifth of a second), or None; `why_not` tells why."""
    return None if why_not() else _made()


@lru_cache(maxsize=1)
def why_not() -> str:
    """Tell what keeps this machine from running code made here, or return an empty string."""
    if not llvm.get_process_triple().startswith("x86_64"):
        return "the processor is not of the x86-64 family"
    if not llvm.get_host_cpu_features().get("avx2", False):
        return "the processor has no AVX2"
    if not _may_execute():
        return "the system forbids a process to make memory executable"
    return ""


def _made() -> ScanCode:
    """Make the functions once, whichever thread comes first."""
    with _making:
        return _compiled()


@lru_cache(maxsize=1)
def _compiled() -> ScanCode:
    """Compile for this very processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=_OPTIMISED
    )
    module = llvm.parse_assembly(scan_module())
    module.verify()
    # Loops are written as they are to be: unrolled further, their sums no longer fit the registers.
    options = llvm.create_pipeline_tuning_options(speed_level=_OPTIMISED)
    options.loop_unrolling = False
    llvm.create_pass_builder(machine, options).getModulePassManager().run(
        module, llvm.create_pass_builder(machine, options)
    )
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    above = {width: _ABOVE(engine.get_function_address(f"above_{width}")) for width in WIDTHS}
    return ScanCode(above, _SUMS(engine.get_function_address("sums")), engine)


def _may_execute() -> bool:
    """Try what the compiler will do: make written memory executable."""
    if sys.platform == "win32":
        return True
    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        place = ctypes.c_char.from_buffer(memory)
        change = ctypes.CDLL(None, use_errno=True).mprotect
        change.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        refused = change(ctypes.addressof(place), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)
        if not refused:
            change(ctypes.addressof(place), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE)
        del place
    return not refused
