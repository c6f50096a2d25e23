"""Which answers a face is assigned to."""

import numpy as np
import pytest

from scripts.train.detector_batches import Batches, collate
from scripts.train.detector_compose import Square
from scripts.train.detector_targets import BASES_PX, IGNORED, NOBODY, STRIDES, assign, layout
from tests.scripts.train.detector_scenes import bank_of


def square_with(*boxes: tuple[float, float, float, float], ignored: bool = False) -> Square:
    arrays = [np.array(box, np.float64) for box in boxes]
    picture = np.zeros((320, 320, 3), np.uint8)
    if ignored:
        return Square(picture, ignored=arrays)
    return Square(picture, arrays, [np.zeros((5, 2)) for _ in arrays])


@pytest.mark.parametrize("size", [12, 20, 45, 90, 120, 150, 230, 310])
@pytest.mark.parametrize("middle", [(160, 160), (163.9, 167.3), (60.5, 250.1)])
def test_every_face_has_an_answer_of_its_size_near_its_middle(
    size: float, middle: tuple[float, float]
) -> None:
    x, y = middle
    rows = assign(square_with((x - size / 2, y - size / 2, x + size / 2, y + size / 2)))
    where, mine = layout(320), np.flatnonzero(rows == 0)
    assert 1 <= len(mine) <= 30
    assert np.linalg.norm(where.centres[mine] - middle, axis=1).max() <= 1.75 * 32
    bases = np.array(BASES_PX).ravel()
    nearest = bases[np.abs(np.log2(size / bases)).argmin()]
    assert nearest in where.bases[mine]


def test_of_two_faces_the_nearer_one_gets_the_answer() -> None:
    rows = assign(square_with((100, 100, 160, 160), (130, 100, 190, 160)))
    where = layout(320)
    for number, middle in ((0, (130, 130)), (1, (160, 130))):
        other = (160, 130) if number == 0 else (130, 130)
        mine = where.centres[rows == number]
        assert len(mine) > 0
        assert (np.linalg.norm(mine - middle, axis=1) <= np.linalg.norm(mine - other, axis=1)).all()


def test_an_ignored_face_silences_nobody() -> None:
    rows = assign(square_with((0, 0, 40, 40), ignored=True))
    inside = (layout(320).centres <= 40).all(axis=1)
    assert (rows[inside] == IGNORED).all()
    assert (rows[~inside] == NOBODY).all()


def test_answers_come_in_the_order_that_insightface_reads() -> None:
    where = layout(64)
    assert len(where.bases) == sum(2 * (64 // stride) ** 2 for stride in STRIDES)
    assert where.centres[:4].tolist() == [[0, 0], [0, 0], [8, 0], [8, 0]]
    assert where.bases[:4].tolist() == [16, 32, 16, 32]


def test_faces_of_a_batch_are_numbered_through() -> None:
    first, second = square_with((50, 50, 130, 130)), square_with((60, 60, 100, 100), (200, 200, 300, 300))
    batch = collate([first, square_with(), second])
    assert batch.owners.tolist() == [0, 2, 2]
    assert set(batch.assigned[0]) - {NOBODY, IGNORED} == {0}
    assert (batch.assigned[1] == NOBODY).all()
    assert set(batch.assigned[2]) - {NOBODY, IGNORED} == {1, 2}


def test_training_that_goes_on_gets_the_batches_that_it_would_have_got() -> None:
    bank = bank_of(10)
    whole = list(Batches(bank, size=2, seed=9).since(0, 5))
    rest = list(Batches(bank, size=2, seed=9).since(3, 5))
    assert len(whole) == 5
    for one, other in zip(whole[3:], rest, strict=True):
        assert np.array_equal(one.pictures, other.pictures)
        assert np.array_equal(one.assigned, other.assigned)
