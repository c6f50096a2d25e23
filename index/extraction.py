"""From the bytes of a portrait to its template: the one way in for enrolments and probes alike."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from index.encoder import align
from index.errors import AlignmentError
from index.pack import Pack
from index.portrait import Portrait, PortraitLimits, decode_portrait
from index.quality import (
    Admission,
    AdmissionPolicy,
    Quality,
    QualityReason,
    measure_quality,
    primary_face,
)
from index.types import Face, Points

Template = NDArray[np.float32]
"""Shape (d,), L2 norm 1."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was found in one portrait.

    Attributes:
        portrait: The decoded picture.
        faces: All faces, by descending area.
        quality: The measures.
        admission: The policy's answer.
        template: The primary face's vector; None when the portrait was not admitted.
        landmarks: The primary face's five points in pixels of `portrait.pixels`; None without a face.
        timings_ms: Milliseconds spent, by stage: `decode`, `detect`, `quality`, `encode`.
    """

    portrait: Portrait
    faces: tuple[Face, ...]
    quality: Quality
    admission: Admission
    template: Template | None = field(repr=False)
    landmarks: Points | None = field(repr=False)
    timings_ms: dict[str, float]


class Extractor:
    """Decodes, judges and encodes portraits with one pack; safe to call from several threads at once."""

    def __init__(
        self,
        pack: Pack,
        *,
        policy: AdmissionPolicy | None = None,
        limits: PortraitLimits | None = None,
    ) -> None:
        """Keep the pack and the rules.

        Args:
            pack: Whose templates are made.
            policy: Which portraits are admitted; None: the default policy.
            limits: Which files are decoded; None: the default limits.
        """
        self.pack = pack
        self._policy = policy or AdmissionPolicy()
        self._limits = limits or PortraitLimits()

    @property
    def rules_id(self) -> str:
        """Identify pack, admission policy and limits: equal ids give equal extractions."""
        rules = f"{self.pack.contract_id} {self._policy!r} {self._limits!r}"
        return hashlib.sha256(rules.encode()).hexdigest()

    def extract(self, data: bytes) -> Extraction:
        """Turn the bytes of a portrait into measures, a verdict and, if admitted, a template.

        Args:
            data: A picture file.

        Raises:
            PortraitError: Not an acceptable picture.
            PackError: The models gave no usable numbers.
        """
        timings_ms: dict[str, float] = {}
        with _timed(timings_ms, "decode"):
            portrait = decode_portrait(data, self._limits)
        with _timed(timings_ms, "detect"):
            faces = self.pack.detector.detect(portrait.pixels)
        with _timed(timings_ms, "quality"):
            quality = measure_quality(portrait.pixels, faces, monochrome=portrait.monochrome)
            admission = self._policy.judge(quality)
        face = primary_face(faces, portrait.pixels)
        template = None
        if face is not None and admission.admitted:
            with _timed(timings_ms, "encode"):
                try:
                    crop = align(portrait.pixels, face.landmarks)
                except AlignmentError:  # Points that no face has: there is none that can be used.
                    admission = replace(admission, admitted=False, reasons=(QualityReason.NO_FACE,))
                else:
                    template = self.pack.encoder.encode([crop])[0]
        landmarks = face.landmarks if face is not None else None
        return Extraction(portrait, tuple(faces), quality, admission, template, landmarks, timings_ms)


@contextmanager
def _timed(timings_ms: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings_ms[stage] = (time.perf_counter() - start) * 1000
