"""Balanced batches that are the same in every run."""

from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from scripts.train.batches import SHARES, Batches
from scripts.train.pool import CROP_SIZE, Pool, unpack


def pool_of(**counts: int) -> Pool:
    sources = np.array([name.replace("_", "-") for name, count in counts.items() for _ in range(count)])
    chance = np.random.default_rng(0)
    return Pool(
        faces=chance.integers(0, 256, (len(sources), CROP_SIZE, CROP_SIZE, 3), np.uint8),
        points=np.zeros((len(sources), 5, 2), np.float32),
        sources=sources,
        identities=np.arange(len(sources)),
    )


def test_a_run_that_goes_on_draws_what_one_without_a_pause_draws() -> None:
    pool = pool_of(aaf=5, utkface=5)
    targets = np.eye(10, dtype=np.float32)
    whole = Batches(pool, targets, size=4, seed=7).since(0, 64)
    first, second = next(whole), next(whole)
    resumed = next(Batches(pool, targets, size=4, seed=7).since(1, 64))
    assert not np.array_equal(first.rows, second.rows)
    assert np.array_equal(resumed.rows, second.rows)
    assert np.array_equal(resumed.faces, second.faces)


def test_each_face_comes_with_its_own_target() -> None:
    targets = np.eye(10, dtype=np.float32)
    batch = next(Batches(pool_of(aaf=5, utkface=5), targets, size=8, seed=1).since(0, 64))
    assert np.array_equal(batch.targets.argmax(1), batch.rows)


def test_a_small_source_is_not_drowned_by_a_large_one() -> None:
    pool = pool_of(scut_fbp=2, utkface=60)
    batches = Batches(pool, np.eye(62, dtype=np.float32), size=200, seed=3).since(0, 64)
    share = float((next(batches).rows < 2).mean())
    assert share == pytest.approx(SHARES["scut-fbp"] / (SHARES["scut-fbp"] + SHARES["utkface"]), abs=0.1)


def test_faces_to_measure_on_are_never_learned_from() -> None:
    pool = pool_of(scut_fbp=20, utkface=40)
    batches = Batches(pool, np.eye(60, dtype=np.float32), size=300, seed=3)
    _, targets = batches.unseen(99, 64)
    unseen = set(targets.argmax(1))
    assert unseen == {4, 9, 14, 19, 39, 59}
    assert not unseen & set(next(batches.since(0, 64)).rows)


def test_crops_are_unpacked_once_with_what_is_known_of_them(tmp_path: Path) -> None:
    folder, work = tmp_path / "pool", tmp_path / "work"
    folder.mkdir()
    names = ["x", "y"]
    columns = [f"{point}_{axis}" for point in ("a", "b", "c", "d", "e") for axis in names]
    lines = [",".join(["shard", "name", "source", "identity", "score", *columns])]
    with ZipFile(folder / "pool-0.zip", "w") as shard:
        for number, identity in enumerate(["7", "", "7"]):
            picture = np.full((CROP_SIZE, CROP_SIZE, 3), (10 * number, 0, 200), np.uint8)
            shard.writestr(f"{number}.png", cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
            row = ["pool-0.zip", f"{number}.png", "celeba", identity, "0.9", *map(str, range(10))]
            lines.append(",".join(row))
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    unpack(folder, work)
    pool = unpack(folder, work)
    assert pool.faces[:, 0, 0].tolist() == [[0, 0, 200], [10, 0, 200], [20, 0, 200]]
    assert pool.identities.tolist() == [0, -1, 0]
    assert pool.points[0].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
