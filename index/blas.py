"""Settings of the linear algebra below NumPy and FAISS, which both read once, at their import.

Entry points call `tune_blas()` before anything imports NumPy or FAISS; afterwards it has no
effect on this process, only on its children. What the operator has set stays as it is.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

_AVX512 = frozenset({"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"})
_AVX2 = frozenset({"avx2", "fma"})

THREAD_TIMEOUT = "4"
"""Idle OpenBLAS threads wait for 2 to this power clock cycles, its least, before they sleep. Its default of
26 keeps a processor busy for 26 ms after every product: half of what a whole check took.

Source: OpenBLAS, `driver/others/blas_server.c`; measured with `oneperson benchmark checks`.
"""

CPU_INFO = Path("/proc/cpuinfo")


def tune_blas(environment: MutableMapping[str, str] | None = None, *, cpu_info: Path = CPU_INFO) -> None:
    """Choose OpenBLAS's kernels by the processor's flags, and let idle threads of both libraries sleep.

    The OpenBLAS inside the FAISS wheel does not know recent processors and falls back to
    kernels of 2004, a quarter as fast; OpenMP threads that spin while idle take the
    processor from the other threads of this process.

    Args:
        environment: Changed in place; the process's own by default.
        cpu_info: Where Linux lists the flags; where it is missing, kernels are left to OpenBLAS.

    Source:
        shared/performance.md, "Search": sgemm 32 against 125 GFLOP/s; p99 8 against 0.9 ms.
    """
    environment = os.environ if environment is None else environment
    kernels = _kernels(_flags(cpu_info))
    if kernels is not None:
        environment.setdefault("OPENBLAS_CORETYPE", kernels)
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environment.setdefault("OPENBLAS_THREAD_TIMEOUT", THREAD_TIMEOUT)


def _kernels(flags: frozenset[str]) -> str | None:
    """Return OpenBLAS's name of the best kernels for some processor flags, or None for its own choice."""
    if flags >= _AVX512:
        return "SkylakeX"
    if flags >= _AVX2:
        return "Haswell"
    return None


def _flags(cpu_info: Path) -> frozenset[str]:
    """Return the flags of the first processor listed; none where nothing can be read."""
    try:
        lines = cpu_info.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, values = line.partition(":")
        if name.strip() == "flags":
            return frozenset(values.split())
    return frozenset()
