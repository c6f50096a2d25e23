"""Keeps the memory of this process, with its keys and portraits, out of files."""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4
"""From `linux/prctl.h`."""


def forbid_core_dumps() -> None:
    """Have no core dump written when this process crashes, nor piped to a program that collects them.

    The limit alone does not hold on Linux where `core_pattern` names such a program (core(5)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
