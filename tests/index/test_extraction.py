"""One way from bytes to template: refusals carry reasons, threads do not disturb each other."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index.encoder import ARCFACE_TEMPLATE
from index.errors import PortraitError
from index.extraction import Extractor
from index.pack import load_pack
from index.portrait import PortraitLimits
from index.quality import AdmissionPolicy, QualityReason
from index.types import Face, Image
from tests.synthetic import synthetic_portrait


def test_an_admitted_portrait_has_a_template(synthetic_extractor: Extractor) -> None:
    found = synthetic_extractor.extract(synthetic_portrait(7))
    assert found.admission.admitted
    assert found.template is not None
    assert found.template.shape == (synthetic_extractor.pack.dimension,)
    assert float(np.linalg.norm(found.template)) == pytest.approx(1.0, abs=1e-5)
    assert found.landmarks is not None
    assert np.array_equal(found.landmarks, found.faces[0].landmarks)
    assert set(found.timings_ms) == {"decode", "detect", "quality", "encode"}
    assert min(found.timings_ms.values()) >= 0


def test_a_portrait_without_a_face_has_no_template(synthetic_extractor: Extractor) -> None:
    found = synthetic_extractor.extract(synthetic_portrait(7, faces=0))
    assert found.admission.reasons == (QualityReason.NO_FACE,)
    assert found.template is None
    assert found.landmarks is None
    assert "encode" not in found.timings_ms


def test_a_refused_portrait_is_not_encoded(synthetic_extractor: Extractor) -> None:
    found = synthetic_extractor.extract(synthetic_portrait(7, faces=2))
    assert QualityReason.SEVERAL_FACES in found.admission.reasons
    assert found.template is None
    assert found.landmarks is not None


def test_the_policy_decides(synthetic_pack_dir: Path) -> None:
    strict = Extractor(load_pack(synthetic_pack_dir), policy=AdmissionPolicy(min_inter_eye_px=1000))
    assert strict.extract(synthetic_portrait(7)).template is None


def test_the_limits_decide(synthetic_pack_dir: Path) -> None:
    narrow = Extractor(load_pack(synthetic_pack_dir), limits=PortraitLimits(max_bytes=1000))
    with pytest.raises(PortraitError, match="too-many-bytes"):
        narrow.extract(synthetic_portrait(7))


def test_bytes_that_are_no_picture_are_refused(synthetic_extractor: Extractor) -> None:
    with pytest.raises(PortraitError, match="unknown-format"):
        synthetic_extractor.extract(b"this is no picture at all")


def test_equal_rules_have_equal_ids(synthetic_pack_dir: Path) -> None:
    pack = load_pack(synthetic_pack_dir)
    usual, same = Extractor(pack), Extractor(pack, policy=AdmissionPolicy(), limits=PortraitLimits())
    stricter = Extractor(pack, policy=AdmissionPolicy(min_inter_eye_px=30))
    assert usual.rules_id == same.rules_id != stricter.rules_id


def test_threads_share_one_extractor(synthetic_extractor: Extractor) -> None:
    portraits = [synthetic_portrait(person) for person in range(6)]
    alone = [synthetic_extractor.extract(data).template for data in portraits]
    with ThreadPoolExecutor(3) as pool:
        together = [found.template for found in pool.map(synthetic_extractor.extract, portraits * 3)]
    for index, template in enumerate(together):
        expected = alone[index % 6]
        assert template is not None
        assert expected is not None
        assert np.array_equal(template, expected)


@pytest.mark.faces
@pytest.mark.parametrize("source", ["orl", "yale", "lfw"])
def test_real_mates_score_above_real_strangers(
    dev_extractor: Extractor, shared_dir: Path, source: str
) -> None:
    pairs: dict[str, list[Path]] = {}
    rows = (shared_dir / "faces" / "eval" / "manifest.csv").read_text(encoding="utf-8").splitlines()[1:]
    for row in rows:
        path, identity, *_ = row.split(",")
        if path.startswith(source):
            pairs.setdefault(identity, []).append(shared_dir / "faces" / "eval" / path)
    chosen = [own[:2] for own in pairs.values() if len(own) > 1][:12]
    first = [dev_extractor.extract(own[0].read_bytes()).template for own in chosen]
    second = [dev_extractor.extract(own[1].read_bytes()).template for own in chosen]
    assert all(template is not None for template in first + second)
    scores = np.stack([t for t in second if t is not None]) @ np.stack([t for t in first if t is not None]).T
    assert (scores.argmax(axis=1) == np.arange(len(chosen))).mean() >= 0.9


class DisorderedDetector:
    """Reports five points in an order that no face has: no turn brings them onto the template."""

    def detect(self, image: Image) -> list[Face]:
        height, width = image.shape[:2]
        template = ARCFACE_TEMPLATE @ [1, 1j]
        centred = template - template.mean()
        points = np.array([60, -60j, -45 + 20j, 30 + 50j, 15 - 10j])
        points = points - points.mean()
        points -= centred * (np.vdot(centred, points) / np.vdot(centred, centred))
        landmarks = np.stack([points.real + width / 2, points.imag + height / 2], axis=1)
        return [Face((width / 4, height / 4, width / 2, height / 2), 0.9, landmarks.astype(np.float32))]


def test_points_that_cannot_be_aligned_are_no_face(synthetic_extractor: Extractor) -> None:
    pack = replace(synthetic_extractor.pack, detector=DisorderedDetector())
    found = Extractor(pack).extract(synthetic_portrait(7))
    assert not found.admission.admitted
    assert found.admission.reasons == (QualityReason.NO_FACE,)
    assert found.template is None
