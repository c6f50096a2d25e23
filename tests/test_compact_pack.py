"""The delivered pack, on the photographs that ship inside installed packages."""

from dataclasses import dataclass

import numpy as np
import pytest

from index.extraction import Extractor
from index.pack import load_pack, verify_pack
from scripts.demo_portraits import id_card_portrait, second_photograph
from scripts.demo_registry import PHOTOGRAPHS, Photographed, people
from service.engine import DELIVERED_PACKS
from service.settings import Settings

COMPACT = DELIVERED_PACKS / "compact"

LARGEST = 8 * 2**20
"""Bytes of its models together."""


@dataclass(frozen=True)
class Gallery:
    """Templates of the first and of a simulated second photograph of the same people, row by row."""

    first: np.ndarray
    second: np.ndarray


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(load_pack(COMPACT))


@pytest.fixture(scope="module")
def photographed(extractor: Extractor) -> list[Photographed]:
    return people(extractor.pack.detector.detect)


@pytest.fixture(scope="module")
def gallery(extractor: Extractor, photographed: list[Photographed]) -> Gallery:
    def templates(portraits: list[bytes]) -> np.ndarray:
        found = [extractor.extract(portrait).template for portrait in portraits]
        return np.stack([template for template in found if template is not None])

    first = templates([id_card_portrait(person.pixels, person.face) for person in photographed])
    second = templates(
        [second_photograph(person.pixels, person.face, seed=at) for at, person in enumerate(photographed)]
    )
    return Gallery(first, second)


def test_it_is_the_default_and_in_order_and_small() -> None:
    assert Settings().pack == "compact"
    verify_pack(COMPACT)
    assert sum(model.stat().st_size for model in COMPACT.glob("*.onnx")) <= LARGEST


def test_it_finds_everybody_in_the_photographs(photographed: list[Photographed]) -> None:
    assert len(photographed) == sum(len(photograph.sitters) for photograph in PHOTOGRAPHS)


def test_every_portrait_is_admitted_and_the_same_person_is_the_most_similar(gallery: Gallery) -> None:
    assert len(gallery.first) == len(gallery.second)
    scores = gallery.first @ gallery.second.T
    assert (scores.argmax(axis=1) == np.arange(len(scores))).all()
    strangers = scores[~np.eye(len(scores), dtype=bool)]
    assert float(np.median(np.diag(scores))) > float(strangers.max())


def test_a_template_does_not_depend_on_its_neighbours_in_a_batch(extractor: Extractor) -> None:
    chance = np.random.default_rng(0)
    crops = list(chance.integers(0, 256, (5, 112, 112, 3), np.uint8))
    together = extractor.pack.encoder.encode(crops)
    alone = np.concatenate([extractor.pack.encoder.encode([crop]) for crop in crops])
    assert np.abs(together - alone).max() < 1e-4


def test_its_table_gives_rates_for_galleries_of_every_size_that_has_no_own(extractor: Extractor) -> None:
    points = extractor.pack.manifest.calibration
    assert len(points) >= 5
    assert points[0][1] > 0.05
    assert points[-1][1] < 1e-4
