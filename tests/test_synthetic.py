"""The synthetic pack and portraits behave like real ones, or tests over them mean nothing."""

from pathlib import Path

import numpy as np
import pytest

from index.extraction import Extractor
from index.pack import load_pack, verify_pack
from index.types import Vectors
from tests.synthetic import CALIBRATION, DIMENSION, face_tile, make_synthetic_pack, synthetic_portrait

SIZES = [(358, 441), (92, 112), (60, 60), (640, 480), (1200, 1600)]


def vectors(extractor: Extractor, persons: range, shot: int) -> Vectors:
    found = [extractor.extract(synthetic_portrait(person, shot)).template for person in persons]
    return np.stack([vector for vector in found if vector is not None])


def test_the_synthetic_pack_is_in_order(synthetic_pack_dir: Path) -> None:
    manifest = verify_pack(synthetic_pack_dir)
    assert manifest.encoder.dimension == DIMENSION
    assert manifest.calibration == CALIBRATION


def test_the_synthetic_pack_is_the_same_every_time(synthetic_pack_dir: Path, tmp_path: Path) -> None:
    again = load_pack(make_synthetic_pack(tmp_path / "again", name="again"))
    assert again.contract_id == load_pack(synthetic_pack_dir).contract_id


def test_the_same_portrait_has_the_same_bytes() -> None:
    assert synthetic_portrait(3, 1) == synthetic_portrait(3, 1)
    assert synthetic_portrait(3, 1) != synthetic_portrait(3, 2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("faces", [0, 1, 2])
def test_as_many_faces_are_found_as_were_drawn(
    synthetic_extractor: Extractor, size: tuple[int, int], faces: int
) -> None:
    found = synthetic_extractor.extract(synthetic_portrait(5, 2, size=size, faces=faces))
    assert len(found.faces) == faces


def test_one_face_is_admitted_and_none_or_two_are_not(synthetic_extractor: Extractor) -> None:
    admissions = [synthetic_extractor.extract(synthetic_portrait(1, faces=n)).admission for n in range(3)]
    assert [a.admitted for a in admissions] == [False, True, False]


def test_pictures_of_one_person_score_high_and_of_different_persons_low(
    synthetic_extractor: Extractor,
) -> None:
    first = vectors(synthetic_extractor, range(40), 0)
    second = vectors(synthetic_extractor, range(40), 1)
    scores = first @ second.T
    mated = np.diag(scores)
    others = np.abs(scores[~np.eye(40, dtype=bool)])
    assert mated.min() > 0.95
    assert np.quantile(others, 0.99) < 0.45


def test_the_calibration_is_what_the_encoder_does(synthetic_pack_dir: Path) -> None:
    encoder = load_pack(synthetic_pack_dir).encoder
    crops = [np.ascontiguousarray(face_tile(person)[::4, ::4]) for person in range(300)]
    encoded = encoder.encode(crops)
    scores = (encoded @ encoded.T)[np.triu_indices(300, 1)]
    for threshold, rate in CALIBRATION[:4]:
        assert (scores >= threshold).mean() == pytest.approx(rate, rel=0.5)
