import numpy as np
import pytest

from index.portrait import decode_portrait
from index.types import Face, Image
from scripts.demo_portraits import EYE_LINE, FACE_WIDTH, HEIGHT, WIDTH, id_card_portrait, second_photograph

BOX = (200.0, 150.0, 100.0, 130.0)
EYES = ((225.0, 200.0), (275.0, 200.0))


def photograph() -> Image:
    """A grey field with a red right eye and a blue left eye."""
    picture = np.full((500, 500, 3), 120, np.uint8)
    picture[192:208, 217:233] = (255, 0, 0)
    picture[192:208, 267:283] = (0, 0, 255)
    return picture


def sitter(turn_deg: float = 0.0) -> Face:
    points = np.array([*EYES, (250, 230), (230, 255), (270, 255)], dtype=np.float32)
    angle = np.deg2rad(turn_deg)
    turned = (points - 250) @ np.array(
        [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    ) + 250
    return Face(BOX, 0.9, turned.astype(np.float32))


def centre_of(picture: Image, channel: int) -> tuple[float, float]:
    """Return the x and y of the saturated patch of one colour."""
    others = [c for c in range(3) if c != channel]
    excess = picture[..., channel].astype(int) - picture[..., others].max(axis=2)
    rows, columns = np.nonzero(excess > 90)
    return float(columns.mean()), float(rows.mean())


def test_the_eyes_stand_level_where_the_standard_wants_them() -> None:
    picture = decode_portrait(id_card_portrait(photograph(), sitter())).pixels
    assert picture.shape == (HEIGHT, WIDTH, 3)
    (right_x, right_y), (left_x, left_y) = centre_of(picture, 0), centre_of(picture, 2)
    assert right_y == pytest.approx(EYE_LINE, abs=3)
    assert left_y == pytest.approx(EYE_LINE, abs=3)
    assert (right_x + left_x) / 2 == pytest.approx(WIDTH / 2, abs=3)
    assert left_x - right_x == pytest.approx(50 * FACE_WIDTH / BOX[2], abs=3)


def test_a_tilted_head_is_turned_upright() -> None:
    turned = sitter(20.0)
    picture = np.full((500, 500, 3), 120, np.uint8)
    for point, colour in zip(turned.landmarks[:2].astype(int), [(255, 0, 0), (0, 0, 255)], strict=True):
        picture[point[1] - 8 : point[1] + 8, point[0] - 8 : point[0] + 8] = colour
    portrait = decode_portrait(id_card_portrait(picture, turned)).pixels
    assert centre_of(portrait, 0)[1] == pytest.approx(centre_of(portrait, 2)[1], abs=3)


def test_a_face_at_the_edge_of_its_photograph_still_gives_a_full_portrait() -> None:
    picture = photograph()[150:, 190:]
    face = Face((10.0, 0.0, 100.0, 130.0), 0.9, (sitter().landmarks - (190, 150)).astype(np.float32))
    portrait = decode_portrait(id_card_portrait(np.ascontiguousarray(picture), face)).pixels
    assert portrait[:10].std() < 20


def test_the_second_photograph_differs_and_depends_on_the_seed_only() -> None:
    first = second_photograph(photograph(), sitter(), seed=1)
    assert first == second_photograph(photograph(), sitter(), seed=1)
    assert first != second_photograph(photograph(), sitter(), seed=2)
    original = decode_portrait(id_card_portrait(photograph(), sitter())).pixels.astype(int)
    assert np.abs(decode_portrait(first).pixels.astype(int) - original).mean() > 5


def test_the_photograph_given_is_not_modified() -> None:
    picture = photograph()
    id_card_portrait(picture, sitter())
    second_photograph(picture, sitter(), seed=3)
    assert np.array_equal(picture, photograph())
