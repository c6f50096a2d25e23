"""Loads a generation in a fresh process and measures it: run by `oneperson benchmark search`.

Prints one JSON object: seconds to load (sealed files opened and checked, gallery ready to search), resident
bytes per reference after searching, and milliseconds to enrol and to remove one reference.
"""

import json
import sys
import time
from pathlib import Path

from index.blas import tune_blas

tune_blas()

import numpy as np  # noqa: E402 - the kernels are chosen first

from index.faiss_gallery import FaissGallery  # noqa: E402
from index.snapshot import open_generation  # noqa: E402
from index.types import Reference  # noqa: E402
from scripts.benchmark_cipher import benchmark_cipher  # noqa: E402


def main(generation: str, contract_id: str, probes_file: str, threshold: str) -> None:
    """Measure and print.

    Args:
        generation: Folder of the generation.
        contract_id: Pack that it was made with.
        probes_file: `.npy` file of probes.
        threshold: Of the searches.
    """
    probes = np.load(probes_file)
    dimension = probes.shape[1]
    warm = FaissGallery(dimension)
    warm.search(probes[:1], limit=1)
    before = resident_bytes()
    cpu, began = time.process_time(), time.perf_counter()
    references, _ = open_generation(Path(generation), contract_id=contract_id, cipher=benchmark_cipher())
    first = int(references.reference_ids[-1]) + 1
    gallery = FaissGallery(dimension, references)
    del references
    loaded, load_cpu = time.perf_counter() - began, time.process_time() - cpu
    for start in range(0, len(probes), 16):
        gallery.search(probes[start : start + 16], limit=20, threshold=float(threshold))
    resident = resident_bytes() - before
    enrols, removals = [], []
    for i in range(50):
        began = time.perf_counter()
        gallery.enrol([Reference(first + i, first + i)], probes[i : i + 1])
        enrols.append(time.perf_counter() - began)
        found = gallery.search(probes[i : i + 1], limit=1, threshold=0.99)[0]
        began = time.perf_counter()
        gallery.remove([first + i])
        removals.append(time.perf_counter() - began)
        if [candidate.reference_id for candidate in found] != [first + i]:
            raise SystemExit("an enrolment was not visible to the next search")
    measured = {
        "load_s": loaded,
        "load_cpu_s": load_cpu,
        "bytes_per_reference": resident / (first - 1),
        "enrol_ms": 1e3 * float(np.median(enrols)),
        "remove_ms": 1e3 * float(np.median(removals)),
    }
    print(json.dumps(measured))


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM, files mapped into it included."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the system does not tell how much memory is resident")


if __name__ == "__main__":
    main(*sys.argv[1:])
