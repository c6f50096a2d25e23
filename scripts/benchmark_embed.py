"""What `oneperson benchmark embed` measures: portraits turned into templates, beside insightface's way.

Both sides are given the same files and the same ONNX models, in turn, portrait by portrait, so that a noisy
neighbour slows them alike; figures are medians over portraits and rounds. On one thread every session has
one intra-op thread. On all cores ours is one such session shared by a caller for each core, and insightface's
are sessions as it makes them, asked by as many callers.
"""

import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from index.encoder import align
from index.extraction import Extractor
from index.pack import load_pack
from index.types import Image
from scripts.benchmark_insightface import InsightfaceFlow
from scripts.benchmark_portraits import usable_portraits

NO_PEER = "insightface has no class for this detector: the comparison of the whole needs one of layout scrfd"


@dataclass(frozen=True, slots=True)
class EmbedPlan:
    """How much to measure.

    Attributes:
        pack: Folder of the pack.
        portraits: Folder of portraits; None: rendered ones.
        count: Portraits.
        rounds: Times that each is measured.
    """

    pack: Path
    portraits: Path | None
    count: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Parts:
    """Milliseconds for one portrait, on one thread.

    Attributes:
        decode_ms: From bytes to pixels.
        detect_ms: Finding faces.
        quality_ms: Measures and verdict; insightface has none.
        encode_ms: Aligning and encoding; insightface encodes every face.
        whole_ms: All of it.
        cpu_ms: Processor time of all of it.
        faces: Faces found in a portrait, mean.
    """

    decode_ms: float
    detect_ms: float
    quality_ms: float
    encode_ms: float
    whole_ms: float
    cpu_ms: float
    faces: float

    @property
    def get_ms(self) -> float:
        """What `FaceAnalysis.get` does: detecting and encoding, without decoding."""
        return self.detect_ms + self.encode_ms


@dataclass(frozen=True, slots=True)
class EmbedFigures:
    """Everything that one run measured; None is what cannot be compared.

    Attributes:
        pack: Name and version.
        detector_layout: Of the pack.
        portraits: Number measured.
        callers: Calling threads on all cores.
        ours: On one thread.
        insightface: Likewise.
        get_ratio: How many times as fast as `FaceAnalysis.get` (without decoding, on one thread).
        whole_ratio: The same with decoding.
        per_s: Portraits a second on all cores.
        insightface_per_s: Likewise.
        all_cores_ratio: How many times as many.
        scaling: Portraits a second on all cores, divided by those on one thread.
        encoder_ms: The encoder alone, one aligned face.
        insightface_encoder_ms: The same in insightface's class.
        encoder_ratio: How many times as fast.
        note: What could not be compared.
    """

    pack: str
    detector_layout: str
    portraits: int
    callers: int
    ours: Parts
    insightface: Parts | None
    get_ratio: float | None
    whole_ratio: float | None
    per_s: float
    insightface_per_s: float | None
    all_cores_ratio: float | None
    scaling: float
    encoder_ms: float
    insightface_encoder_ms: float
    encoder_ratio: float
    note: str

    def as_json(self) -> str:
        """Return all figures as JSON."""
        return json.dumps(asdict(self), indent=2)


def measure_embed(plan: EmbedPlan, *, report: Callable[[str], None]) -> EmbedFigures:
    """Measure both sides.

    Raises:
        CommandError: There are no portraits to measure with.
        PackError: The pack is damaged or does not run.
    """
    with warnings.catch_warnings():
        # insightface 2.1 aligns with a function that scikit-image 0.26 calls outdated, at every face.
        warnings.filterwarnings("ignore", message=".*estimate.*deprecated", category=FutureWarning)
        return _measured(plan, report)


def _measured(plan: EmbedPlan, report: Callable[[str], None]) -> EmbedFigures:
    pack = load_pack(plan.pack)
    extractor = Extractor(pack)
    report("choosing portraits")
    portraits = usable_portraits(pack, plan.portraits, plan.count)
    single = InsightfaceFlow(plan.pack, pack.manifest, threads=1)
    report(f"{plan.rounds} rounds of {len(portraits)} portraits on one thread")
    ours, theirs = _one_thread(extractor, single, portraits, plan.rounds)
    report("the encoder alone")
    encoder_ms, peer_encoder_ms = _encoders(extractor, single, portraits, plan.rounds)
    callers = os.cpu_count() or 1
    report(f"{callers} callers")
    shipped = InsightfaceFlow(plan.pack, pack.manifest, threads=None)
    per_s, peer_per_s = _all_cores(extractor, shipped, portraits, rounds=plan.rounds, callers=callers)
    return EmbedFigures(
        pack=f"{pack.name} {pack.manifest.version}",
        detector_layout=pack.manifest.detector.layout,
        portraits=len(portraits),
        callers=callers,
        ours=ours,
        insightface=theirs,
        get_ratio=None if theirs is None else theirs.get_ms / ours.get_ms,
        whole_ratio=None if theirs is None else theirs.whole_ms / ours.whole_ms,
        per_s=per_s,
        insightface_per_s=peer_per_s,
        all_cores_ratio=peer_per_s and per_s / peer_per_s,
        scaling=per_s * ours.whole_ms / 1e3,
        encoder_ms=encoder_ms,
        insightface_encoder_ms=peer_encoder_ms,
        encoder_ratio=peer_encoder_ms / encoder_ms,
        note="" if single.detects else NO_PEER,
    )


class _Timings:
    """Collects what each portrait took."""

    def __init__(self) -> None:
        self._parts: dict[str, list[float]] = {}
        self._faces: list[int] = []

    def run(self, embed: Callable[[bytes], tuple[int, dict[str, float]]], portrait: bytes) -> None:
        """Time one portrait."""
        began, cpu = time.perf_counter(), time.thread_time()
        faces, parts = embed(portrait)
        parts |= {"cpu": 1e3 * (time.thread_time() - cpu), "whole": 1e3 * (time.perf_counter() - began)}
        for name, taken in parts.items():
            self._parts.setdefault(name, []).append(taken)
        self._faces.append(faces)

    def medians(self) -> Parts:
        """Return the medians."""
        found = {name: median(taken) for name, taken in self._parts.items()}
        return Parts(
            decode_ms=found["decode"],
            detect_ms=found["detect"],
            quality_ms=found.get("quality", 0.0),
            encode_ms=found.get("encode", 0.0),
            whole_ms=found["whole"],
            cpu_ms=found["cpu"],
            faces=float(np.mean(self._faces)),
        )


def _one_thread(
    extractor: Extractor, peer: InsightfaceFlow, portraits: Sequence[bytes], rounds: int
) -> tuple[Parts, Parts | None]:
    """Measure both sides in turn, after one round that is not counted."""

    def ours(portrait: bytes) -> tuple[int, dict[str, float]]:
        extraction = extractor.extract(portrait)
        return len(extraction.faces), dict(extraction.timings_ms)

    def theirs(portrait: bytes) -> tuple[int, dict[str, float]]:
        faces, parts = peer.get(portrait)
        return faces, dict(parts)

    def measured(times: int) -> tuple[_Timings, _Timings]:
        timed, peer_timed = _Timings(), _Timings()
        for _ in range(times):
            for portrait in portraits:
                timed.run(ours, portrait)
                if peer.detects:
                    peer_timed.run(theirs, portrait)
        return timed, peer_timed

    measured(1)
    timed, peer_timed = measured(rounds)
    return timed.medians(), peer_timed.medians() if peer.detects else None


def _encoders(
    extractor: Extractor, peer: InsightfaceFlow, portraits: Sequence[bytes], rounds: int
) -> tuple[float, float]:
    """Measure one aligned face at a time, in turn."""
    crops = [crop for portrait in portraits if (crop := _crop(extractor, portrait)) is not None]
    ours, theirs = [], []
    for _ in range(rounds):
        for crop in crops:
            began = time.perf_counter()
            extractor.pack.encoder.encode([crop])
            between = time.perf_counter()
            peer.encode(crop[:, :, ::-1])
            ours.append(between - began)
            theirs.append(time.perf_counter() - between)
    return 1e3 * median(ours), 1e3 * median(theirs)


def _crop(extractor: Extractor, portrait: bytes) -> Image | None:
    extraction = extractor.extract(portrait)
    if extraction.landmarks is None:
        return None
    return align(extraction.portrait.pixels, extraction.landmarks)


def _all_cores(
    extractor: Extractor, peer: InsightfaceFlow, portraits: Sequence[bytes], *, rounds: int, callers: int
) -> tuple[float, float | None]:
    """Return portraits a second of both sides, each with so many callers."""
    ours, theirs = [], []
    with ThreadPoolExecutor(callers) as pool:

        def rate(embed: Callable[[bytes], object]) -> float:
            began = time.perf_counter()
            list(pool.map(embed, portraits))
            return len(portraits) / (time.perf_counter() - began)

        for _ in range(rounds):
            ours.append(rate(extractor.extract))
            if peer.detects:
                theirs.append(rate(peer.get))
    return median(ours), median(theirs) if theirs else None
