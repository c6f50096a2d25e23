"""Scenes are decoded once, and a fixed part of them is held out."""

import csv
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from scripts.train.scenes import is_held_out, unpack_scenes

_KEYS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")


def write_scenes(folder: Path, *, faces: list[str], width: int = 20) -> None:
    rows = []
    with ZipFile(folder / "scenes.zip", "w") as archive:
        for number, count in enumerate(faces):
            name = f"{number:05d}.webp"
            picture = np.full((30 + number, 20, 3), (10 * number, 0, 200), np.uint8)
            done, data = cv2.imencode(".png", picture)
            assert done
            archive.writestr(name, data.tobytes())
            row = {"name": name, "source": "aaf", "width": width, "height": 30 + number, "faces_found": count}
            row |= {"score": 0.9, "x": number, "y": 2, "w": 3, "h": 4}
            row |= {f"{key}_{axis}": number + place for place, key in enumerate(_KEYS) for axis in "xy"}
            rows.append(row)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_pictures_with_one_face_come_back_as_they_were(tmp_path: Path) -> None:
    write_scenes(tmp_path, faces=["1", "2", "1"])
    for _ in range(2):  # The second time from the arrays.
        scenes = unpack_scenes(tmp_path, tmp_path / "work")
        assert len(scenes) == 2
        scene = scenes[1]
        assert scene.picture.shape == (32, 20, 3)
        assert scene.picture[0, 0].tolist() == [200, 0, 20]  # Red first.
        assert scene.box.tolist() == [2, 2, 3, 4]
        assert scene.points[:, 0].tolist() == [2, 3, 4, 5, 6]
        (tmp_path / "scenes.zip").unlink(missing_ok=True)


def test_a_label_that_does_not_fit_its_picture_is_refused(tmp_path: Path) -> None:
    write_scenes(tmp_path, faces=["1"], width=21)
    with pytest.raises(ValueError, match=r"00000\.webp is no picture of the size"):
        unpack_scenes(tmp_path, tmp_path / "work")


def test_a_tenth_is_held_out_by_name() -> None:
    held = [is_held_out(f"{number:05d}.webp") for number in range(4000)]
    assert 0.08 < sum(held) / 4000 < 0.12
    assert is_held_out("00017.webp") == is_held_out("00017.webp")
