"""Made-up scenes whose five points are spots of known colours, so that geometry can be checked by looking."""

import cv2
import numpy as np

from scripts.train.detector_bank import SIDE, Bank
from scripts.train.detector_compose import Composer
from scripts.train.label_squares import made
from scripts.train.scenes import Scenes

SPOTS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))
"""Colours of the right eye (image left), left eye, nose, right and left mouth corner."""

POINTS = np.array([(80, 90), (120, 90), (100, 115), (85, 135), (115, 135)], np.float32)
BOX = np.array([65, 65, 70, 90], np.float32)


def spotted_scenes(count: int = 20) -> Scenes:
    """Pictures of 200 x 220 with one "face" each; every fifth one is held out, and those alone are red."""
    pictures, held_out = [], np.arange(count) % 5 == 0
    for number in range(count):
        picture = np.full((220, 200, 3), (200, 60, 60) if held_out[number] else (60, 60, 60), np.uint8)
        cv2.ellipse(picture, (100, 110), (33, 43), 0, 0, 360, (128, 128, 128), -1)
        for point, colour in zip(POINTS, SPOTS, strict=True):
            cv2.circle(picture, (int(point[0]), int(point[1])), 6, colour, -1)
        pictures.append(picture.ravel())
    lengths = np.array([len(picture) for picture in pictures])
    return Scenes(
        pixels=np.concatenate(pictures),
        starts=np.cumsum(lengths) - lengths,
        sizes=np.tile([220, 200], (count, 1)),
        boxes=np.tile(BOX, (count, 1)),
        points=np.tile(POINTS, (count, 1, 1)),
        sources=np.array(["aaf", "celeba"] * (count // 2)),
        held_out=held_out,
    )


def bank_of(count: int, *, held_out: bool = False) -> Bank:
    """Squares composed of such scenes, with the labels that these have."""
    composer = Composer(spotted_scenes(), SIDE, held_out=held_out)
    squares = [made(composer, None, [7, number]) for number in range(count)]
    faces = [
        np.concatenate([box, points.ravel()])
        for square in squares
        for box, points in zip(square.boxes, square.points, strict=True)
    ]
    ignored = [box for square in squares for box in square.ignored]
    return Bank(
        pictures=np.stack([square.picture for square in squares]),
        faces=np.array(faces, np.float32).reshape(-1, 14),
        starts=np.concatenate([[0], np.cumsum([len(square.boxes) for square in squares])]),
        ignored=np.array(ignored, np.float32).reshape(-1, 4),
        ignored_starts=np.concatenate([[0], np.cumsum([len(square.ignored) for square in squares])]),
    )
