"""Loads packs in a process of its own, so that one that brings down a runtime is seen and not suffered.

Reads one directory per line from standard input and writes one line for each: `ok`, `refused`, or the
name of an exception that nobody foresaw.
"""

import resource
import sys
import time
from pathlib import Path

from index.errors import PackError
from index.pack import load_pack

ROOM_BYTES = 3 * 2**30
"""Address space that a pack may take: a synthetic one takes a hundredth of it beside the libraries."""


def tried(directory: Path) -> str:
    """Load a pack and tell how that ended, with the seconds it took."""
    began = time.thread_time()
    try:
        load_pack(directory)
        end = "ok"
    except PackError:
        end = "refused"
    except Exception as error:
        end = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return f"{time.thread_time() - began:.3f} {end}"


def main() -> None:
    """Answer until nothing more is asked."""
    resource.setrlimit(resource.RLIMIT_AS, (ROOM_BYTES, ROOM_BYTES))
    for line in sys.stdin:
        print(tried(Path(line.rstrip("\n"))), flush=True)


if __name__ == "__main__":
    main()
