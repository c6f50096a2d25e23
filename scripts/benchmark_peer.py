"""`faiss.IndexFlatIP` in a process of its own, as it ships or at its best: for `oneperson benchmark search`.

Which BLAS kernels FAISS uses is decided when it is imported, so its default cannot be measured
in a process that has chosen better ones; and how long its idle threads wait serves another
purpose in ours. With the best kernels it also takes BLAS for every batch. Reads one command per
line from standard input, `FIRST COUNT LIMIT`, searches for that many probes together and answers
with the seconds that it took.
"""

import sys
import time

import faiss
import numpy as np


def main(vectors_file: str, probes_file: str, blas_always: str) -> None:
    """Serve timings until standard input ends.

    Args:
        vectors_file: `.npy` file of the references' vectors.
        probes_file: `.npy` file of the probes.
        blas_always: "1" to multiply batches of any size by BLAS, "0" for FAISS's own choice.
    """
    if blas_always == "1":
        faiss.cvar.distance_compute_blas_threshold = 1
    vectors = np.load(vectors_file, mmap_mode="r")
    probes = np.load(probes_file)
    index = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(vectors), 65536):
        index.add(np.ascontiguousarray(vectors[start : start + 65536]))
    print("ready", flush=True)
    for line in sys.stdin:
        first, count, limit = map(int, line.split())
        began = time.perf_counter()
        index.search(probes[first : first + count], limit)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
