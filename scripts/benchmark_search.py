"""What `oneperson benchmark search` measures: the faiss gallery beside `faiss.IndexFlatIP`.

All contenders answer the same probes in turn, round by round in one run, so that a noisy
neighbour slows them alike; figures are medians over the rounds, times are per probe.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from index.calibration import calibrate
from index.faiss_gallery import FaissGallery
from index.recall import Differences, compare_with_exact
from index.rows import Rows
from index.snapshot import open_generation, write_generation
from index.types import References, Vectors
from scripts.benchmark_cipher import benchmark_cipher
from scripts.benchmark_data import PROFILES, as_references, make_mated_probes, make_persons

DIMENSION = 512
LIMIT = 20
TARGET_FPIR = 0.01
BATCH = 16
CLIENTS = 16

WARM_S = 0.05
"""Every contender searches untimed for so long before it is timed: idle threads of OpenBLAS as it ships spin
for 2^26 cycles, some 25 ms, on a processor that the next contender needs (its `THREAD_TIMEOUT`; `index.blas`
sets ours lower), and a processor that has slept is slow at first."""

_CONTRACT = "benchmark"

Time = Callable[[int, int], float]
"""Searches for some probes together, given the first and their number; returns the seconds it took."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure.

    Attributes:
        persons: Size of the gallery, one reference each.
        probes: Mated probes compared with exact search, and as many non-mated ones.
        rounds: Times that every contender is measured.
        profile: Which encoder's scores the data follow.
        seed: Of all data.
    """

    persons: int
    probes: int
    rounds: int
    profile: str
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds per probe, and ratios against `IndexFlatIP`.

    Attributes:
        flat_ms: `IndexFlatIP` as it ships, one probe at a time.
        lone_ms: The faiss gallery, one probe at a time, all cores.
        lone_one_thread_ms: The same on one thread.
        flat_batch16_ms: `IndexFlatIP` as it ships, sixteen probes together.
        flat_batch16_best_blas_ms: The same with the best kernels, and BLAS used for every batch.
        batch16_ms: The faiss gallery, sixteen probes together.
        lone_ratio: How many times as fast as `IndexFlatIP` as it ships, one probe.
        lone_one_thread_ratio: The same on one thread.
        batch16_ratio: The same for sixteen probes.
        batch16_best_blas_ratio: Against `IndexFlatIP` with the best BLAS.
    """

    flat_ms: float
    lone_ms: float
    lone_one_thread_ms: float
    flat_batch16_ms: float
    flat_batch16_best_blas_ms: float
    batch16_ms: float
    lone_ratio: float
    lone_one_thread_ratio: float
    batch16_ratio: float
    batch16_best_blas_ratio: float


@dataclass(frozen=True, slots=True)
class ClientTimes:
    """Sixteen clients that each search as soon as they have their answer.

    Attributes:
        clients16_ratio: Searches per second, divided by those of one client on one thread.
        clients16_per_s: Searches per second.
        clients16_p50_ms: Median time of a search.
        clients16_p99_ms: 99th percentile.
    """

    clients16_ratio: float
    clients16_per_s: float
    clients16_p50_ms: float
    clients16_p99_ms: float


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """A generation loaded in a fresh process.

    Attributes:
        load_s: Seconds from encrypted files on disk to a gallery that answers.
        load_cpu_s: Processor seconds of the same.
        bytes_per_reference: Resident memory after searching, mapped files included.
        enrol_ms: Milliseconds to enrol one reference.
        remove_ms: Milliseconds to remove one.
    """

    load_s: float
    load_cpu_s: float
    bytes_per_reference: float
    enrol_ms: float
    remove_ms: float


@dataclass(frozen=True, slots=True)
class SearchFigures:
    """Everything that one run measured.

    Attributes:
        persons: Persons enrolled, one reference each.
        dimension: Length of a vector.
        profile: Which encoder's scores the data follow.
        threshold: At an FPIR of 0.01, calibrated on the gallery.
        times: Per probe.
        clients: Under load.
        differences: From exact search.
        load: In a fresh process.
    """

    persons: int
    dimension: int
    profile: str
    threshold: float
    times: Times
    clients: ClientTimes
    differences: Differences
    load: LoadFigures

    def as_json(self) -> str:
        """Return all figures as one flat JSON object."""
        values = asdict(self)
        for part in ("times", "clients", "differences", "load"):
            values |= values.pop(part)
        return json.dumps(values, indent=2)


def measure_search(plan: Plan, *, report: Callable[[str], None]) -> SearchFigures:
    """Make the data, measure every contender and compare the answers with exact search.

    Args:
        plan: How much to measure.
        report: Told what happens now, in a few words.
    """
    profile = PROFILES[plan.profile]
    report(f"making {plan.persons:,} persons")
    persons = make_persons(plan.persons, profile, dimension=DIMENSION, seed=plan.seed)
    rng = np.random.default_rng(plan.seed)
    chosen = np.sort(rng.choice(plan.persons, min(plan.probes, plan.persons), replace=False))
    mated = make_mated_probes(persons[chosen], profile, seed=plan.seed + 10)
    strangers = make_persons(len(mated), profile, dimension=DIMENSION, seed=plan.seed + 20)
    probes = np.stack([mated, strangers], axis=1).reshape(-1, DIMENSION)
    references = as_references(persons)
    report("calibrating")
    threshold = _threshold(references)
    with tempfile.TemporaryDirectory(prefix="oneperson-benchmark-") as folder:
        report("writing an encrypted generation and loading it in a fresh process")
        generation = _written(Path(folder), references)
        load = _measure_load(Path(folder), generation, probes[:1024], threshold)
        report("building the contenders")
        stored, _ = open_generation(generation, contract_id=_CONTRACT, cipher=benchmark_cipher())
        gallery = FaissGallery(DIMENSION, stored)
        one_thread = FaissGallery(DIMENSION, stored, threads=1)
        np.save(Path(folder) / "vectors.npy", persons)
        report(f"{plan.rounds} rounds")
        with (
            _flat(Path(folder), probes) as flat,
            _flat(Path(folder), probes, best_blas=True) as best_blas,
        ):
            contenders = {
                "flat": flat,
                "best_blas": best_blas,
                "gallery": _timed(gallery, probes, threshold),
                "one_thread": _timed(one_thread, probes, threshold),
            }
            times = _measure_times(contenders, rounds=plan.rounds, probes=len(probes))
        report(f"{CLIENTS} clients at once")
        clients = _measure_clients(gallery, one_thread, probes, threshold)
        report("comparing with exact search")
        differences = compare_with_exact(gallery, references, probes, limit=LIMIT, threshold=threshold)
    return SearchFigures(
        persons=plan.persons,
        dimension=DIMENSION,
        profile=plan.profile,
        threshold=threshold,
        times=times,
        clients=clients,
        differences=differences,
        load=load,
    )


def _threshold(references: References) -> float:
    """Return the threshold that the product would calibrate on this gallery."""
    calibration = calibrate(
        Rows.of(references),
        target_fpir=TARGET_FPIR,
        gallery="benchmark",
        contract_id=_CONTRACT,
        created_at=datetime.now(UTC),
        sample=1000,
    )
    return calibration.threshold


def _written(folder: Path, references: References) -> Path:
    """Write a generation as the service does: encrypted."""
    return write_generation(
        folder / "gallery",
        references,
        contract_id=_CONTRACT,
        position=0,
        gallery="benchmark",
        cipher=benchmark_cipher(),
    )


def _measure_load(folder: Path, generation: Path, probes: Vectors, threshold: float) -> LoadFigures:
    """Have a fresh process load a generation."""
    np.save(folder / "some-probes.npy", probes)
    command = [sys.executable, "-m", "scripts.benchmark_load", str(generation), _CONTRACT]
    command += [str(folder / "some-probes.npy"), str(threshold)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return LoadFigures(**json.loads(done.stdout))


def _measure_times(contenders: dict[str, Time], *, rounds: int, probes: int) -> Times:
    """Let every contender search alone and in batches, in turn."""
    lone: dict[str, list[float]] = {name: [] for name in contenders}
    batch: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        first = turn * BATCH % (probes - BATCH + 1)
        for name, search in contenders.items():
            began = time.monotonic()
            while time.monotonic() - began < WARM_S:
                search((first + BATCH) % probes, 1)
            repeats = 1 if name in ("flat", "best_blas") else 8
            lone[name] += [search((first + i) % probes, 1) for i in range(repeats)]
            batch[name] += [search(first, BATCH) / BATCH for _ in range(1 + repeats // 8)]
    one = {name: 1e3 * float(np.median(seconds)) for name, seconds in lone.items()}
    many = {name: 1e3 * float(np.median(seconds)) for name, seconds in batch.items()}
    return Times(
        flat_ms=one["flat"],
        lone_ms=one["gallery"],
        lone_one_thread_ms=one["one_thread"],
        flat_batch16_ms=many["flat"],
        flat_batch16_best_blas_ms=many["best_blas"],
        batch16_ms=many["gallery"],
        lone_ratio=one["flat"] / one["gallery"],
        lone_one_thread_ratio=one["flat"] / one["one_thread"],
        batch16_ratio=many["flat"] / many["gallery"],
        batch16_best_blas_ratio=many["best_blas"] / many["gallery"],
    )


def _measure_clients(
    gallery: FaissGallery, one_thread: FaissGallery, probes: Vectors, threshold: float
) -> ClientTimes:
    """Let sixteen threads search without pause, and one on a gallery of one thread, in turn."""
    alone, together, times = [], [], []
    for _ in range(3):
        alone.append(_clients(one_thread, probes, threshold, clients=1, searches=200)[0])
        rate, seconds = _clients(gallery, probes, threshold, clients=CLIENTS, searches=50)
        together.append(rate)
        times += seconds
    return ClientTimes(
        clients16_ratio=float(np.median(together) / np.median(alone)),
        clients16_per_s=float(np.median(together)),
        clients16_p50_ms=1e3 * float(np.median(times)),
        clients16_p99_ms=1e3 * float(np.quantile(times, 0.99)),
    )


def _clients(
    gallery: FaissGallery, probes: Vectors, threshold: float, *, clients: int, searches: int
) -> tuple[float, list[float]]:
    """Return searches per second and the seconds of each."""
    search = _timed(gallery, probes, threshold)
    seconds: list[float] = []

    def client(number: int) -> None:
        places = [(number * 7919 + i) % len(probes) for i in range(searches)]
        seconds.extend(search(place, 1) for place in places)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(seconds) / (time.perf_counter() - began), seconds


def _timed(gallery: FaissGallery, probes: Vectors, threshold: float) -> Time:
    """Return a contender that searches a gallery."""

    def search(first: int, count: int) -> float:
        began = time.perf_counter()
        gallery.search(probes[first : first + count], limit=LIMIT, threshold=threshold)
        return time.perf_counter() - began

    return search


@contextmanager
def _flat(folder: Path, probes: Vectors, *, best_blas: bool = False) -> Iterator[Time]:
    """Run `IndexFlatIP` in a process of its own, as it ships or with the best BLAS; yields the contender."""
    np.save(folder / "probes.npy", probes)
    environment = _untuned_environment()
    if best_blas:
        environment["OPENBLAS_CORETYPE"] = os.environ.get("OPENBLAS_CORETYPE", "")
    command = [sys.executable, "-m", "scripts.benchmark_peer", str(folder / "vectors.npy")]
    command += [str(folder / "probes.npy"), str(int(best_blas))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as peer:
        if peer.stdin is None or peer.stdout is None:
            raise OSError("the peer has no pipes")
        requests, answers = peer.stdin, peer.stdout
        answers.readline()

        def search(first: int, count: int) -> float:
            requests.write(f"{first} {count} {LIMIT}\n")
            requests.flush()
            return float(answers.readline())

        yield search
        requests.close()


def _untuned_environment() -> dict[str, str]:
    """Return the environment without what `index.blas.tune_blas` may have put there."""
    tuned = ("OPENBLAS_CORETYPE", "OPENBLAS_THREAD_TIMEOUT", "OMP_WAIT_POLICY")
    return {name: value for name, value in os.environ.items() if name not in tuned}
