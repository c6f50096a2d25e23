"""Views are labelled where the points really are, and what a detector mistakes for a face is collected."""

from collections.abc import Sequence

import cv2
import numpy as np

from index.encoder import ARCFACE_TEMPLATE
from index.types import Face, Image
from scripts.train.collect_mistakes import covered_share, mistakes
from scripts.train.detector_compose import Square
from scripts.train.landmark_views import VIEW_PX, Drawing
from scripts.train.pool import CROP_SIZE, Pool
from tests.scripts.train.detector_scenes import SPOTS, spotted_scenes

COUNT = 40


def spotted_pool() -> Pool:
    """Crops whose five points are the spots of the scenes."""
    points = (ARCFACE_TEMPLATE * 116 / 112 + 10).astype(np.float32)
    crop = np.full((CROP_SIZE, CROP_SIZE, 3), 128, np.uint8)
    for (x, y), colour in zip(points, SPOTS, strict=True):
        cv2.circle(crop, (round(float(x)), round(float(y))), 6, colour, -1)
    return Pool(
        faces=np.stack([crop] * COUNT),
        points=np.stack([points] * COUNT),
        sources=np.array(["aaf", "utkface"] * (COUNT // 2)),
        identities=np.full(COUNT, -1),
    )


def drawing(seed: int = 3) -> Drawing:
    wrong = np.full((4, VIEW_PX, VIEW_PX, 3), 40, np.uint8)
    return Drawing(spotted_pool(), spotted_scenes(), wrong, size=60, seed=seed)


def nearest_spot(view: Image, point: Sequence[float]) -> int | None:
    """Say which spot's colour is seen at a point; None where the view has lost its colours."""
    x, y = (round(float(at) * VIEW_PX) for at in point)
    near = view[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].reshape(-1, 3).astype(float)
    colour = near.mean(axis=0) - near.mean()
    if np.abs(colour).max() < 25:
        return None
    wanted = np.array(SPOTS, float)
    wanted -= wanted.mean(axis=1, keepdims=True)
    likeness = wanted @ colour / np.linalg.norm(wanted, axis=1)
    return int(likeness.argmax())


def test_labels_lie_on_the_points_whichever_way_a_face_is_mirrored() -> None:
    views = drawing().batch(0)
    told = [
        [nearest_spot(view, point) for point in points]
        for view, points, face in zip(views.pictures, views.points, views.faces, strict=True)
        if face
    ]
    seen = [(number, spot) for spots in told for number, spot in enumerate(spots) if spot is not None]
    assert len(seen) > 80
    # Mirrored faces show the other eye's and the other corner's colour: the label follows the side.
    same = {0: {0, 1}, 1: {0, 1}, 2: {2}, 3: {3, 4}, 4: {3, 4}}
    right = [spot in same[number] for number, spot in seen]
    assert np.mean(right) > 0.9
    assert {0, 1} <= {spot for number, spot in seen if number == 0}


def test_a_batch_shows_faces_and_what_is_none_and_follows_from_seed_and_number() -> None:
    views = drawing().batch(5)
    assert views.pictures.shape == (60, VIEW_PX, VIEW_PX, 3)
    assert 0.5 < views.faces.mean() < 0.95
    assert (views.points[~views.faces] == 0).all()
    inside = views.points[views.faces]
    assert np.mean((inside > 0) & (inside < 1)) > 0.99
    resumed = list(drawing().since(4, 6))[-1]
    assert np.array_equal(resumed.pictures, views.pictures)
    assert not np.array_equal(drawing(4).batch(5).pictures, views.pictures)


def test_checks_look_at_what_is_never_learned_from() -> None:
    views = drawing().unseen(2)
    assert views.faces.tolist() == [True] * 4 + [False] * 2


class Seeing:
    """Reports the same faces in every picture."""

    def __init__(self, *faces: Face) -> None:
        self._faces = list(faces)

    def detect(self, image: Image) -> list[Face]:
        assert image.shape[2] == 3
        return self._faces


def face_at(x: float, y: float, score: float = 0.4, size: float = 80.0) -> Face:
    points = (ARCFACE_TEMPLATE / 112 * size + [x, y]).astype(np.float32)
    return Face((x, y, size, size), score, points)


def test_only_what_lies_on_no_face_is_a_mistake() -> None:
    picture = np.zeros((320, 320, 3), np.uint8)
    picture[:, 160:] = 200
    square = Square(picture, [np.array([0.0, 0.0, 80.0, 80.0])], [], [np.array([0.0, 200.0, 90.0, 320.0])])
    seen = Seeing(face_at(5, 5), face_at(220, 10), face_at(10, 210), face_at(200, 200, score=0.2))
    views = mistakes(seen, square)
    assert len(views) == 2
    assert all(view.shape == (VIEW_PX, VIEW_PX, 3) and view.min() == 200 for view in views)
    assert covered_share(face_at(40, 0), square.boxes) == 0.5


def test_points_in_one_place_give_no_view() -> None:
    face = Face((10.0, 10.0, 50.0, 50.0), 0.4, np.zeros((5, 2), np.float32))
    assert mistakes(Seeing(face), Square(np.zeros((320, 320, 3), np.uint8))) == []
