"""Training, growing, resuming and exporting an encoder; needs torch, which the service does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip(
    "torch", reason="torch is not installed; only training needs it: scripts/train/requirements.txt"
)

import torch

from scripts.train.batches import Batches
from scripts.train.encoder_net import SHAPES, EncoderNet
from scripts.train.export_encoder import TOLERANCE, Reduced, largest_difference, shrink, write_onnx
from scripts.train.maps import MAP_CHANNELS, TeacherMaps, map_loss
from scripts.train.muon import orthogonal
from scripts.train.teachers import project
from scripts.train.train_encoder import Plan, Training
from tests.scripts.train.test_batches import pool_of

PLAN = Plan(shape="small", dimension=8, steps=4, batch=3, sides=(32, 112), shares=(0.75,), peak=0.02, seed=3)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def batches() -> Batches:
    targets = np.eye(6, 8, dtype=np.float32)
    return Batches(pool_of(aaf=3, utkface=3), targets, size=PLAN.batch, seed=PLAN.seed)


def maps() -> TeacherMaps:
    chance = np.random.default_rng(1)
    return TeacherMaps(
        {
            side: chance.integers(-99, 99, (6, side, side, channels), np.int8)
            for side, channels in MAP_CHANNELS.items()
        }
    )


def learn(training: Training, until: int) -> None:
    while training.step < until:
        batch = next(batches().since(training.step, training.net.side))
        training.learn(batch, maps())


def test_training_taken_up_again_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    whole = Training(PLAN, torch.device("cpu"))
    learn(whole, 2)
    whole.save(tmp_path / "encoder.pt")
    learn(whole, 3)
    resumed = Training(PLAN, torch.device("cpu"))
    resumed.load(torch.load(tmp_path / "encoder.pt", weights_only=True))
    learn(resumed, 3)
    for ours, theirs in zip(whole.net.parameters(), resumed.net.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_faces_grow_as_planned_and_another_length_may_be_planned_later() -> None:
    assert [PLAN.side(step) for step in range(4)] == [32, 32, 32, 112]
    training = Training(PLAN, torch.device("cpu"))
    learn(training, 3)
    assert training.net.side == 112
    learn(training, 4)
    assert training.averaged().side == 112
    assert replace(PLAN, steps=9).goes_on({"shape": "small", "dimension": 8, "batch": 3, "seed": 3})
    assert not PLAN.goes_on({"shape": "base", "dimension": 8, "batch": 3, "seed": 3})


def test_learning_brings_the_vectors_nearer_to_the_teachers() -> None:
    training = Training(replace(PLAN, steps=90, sides=(32, 112), shares=(1.0,)), torch.device("cpu"))
    stream = batches().since(0, 32)
    losses = [training.learn(next(stream), maps())[0] for _ in range(40)]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


def test_a_larger_net_sees_a_larger_face_alike() -> None:
    torch.manual_seed(0)
    net = EncoderNet(SHAPES["small"], 8, 64).eval()
    with torch.no_grad():  # As a trained head is, its weights are alike at neighbouring places.
        by_channel = net.head.weight.view(8, -1, 4, 4).mean((2, 3), keepdim=True)
        net.head.weight.copy_(by_channel.expand(-1, -1, 4, 4).flatten(1))
    smooth = torch.nn.functional.interpolate(torch.randn(2, 3, 4, 4), size=(64, 64), mode="bilinear")
    large = torch.nn.functional.interpolate(smooth, size=(112, 112), mode="bilinear")
    with torch.no_grad():
        ours, theirs = net(smooth), net.at_side(112).eval()(large)
    assert float(torch.nn.functional.cosine_similarity(ours, theirs).min()) > 0.8


def test_what_imitates_the_maps_perfectly_loses_nothing_and_the_mean_loses_all() -> None:
    seen = maps().of(14, np.array([0, 1]), torch.device("cpu"))
    assert seen.shape == (2, MAP_CHANNELS[14], 14, 14)
    assert float(map_loss(seen, seen)) == 0
    assert float(map_loss(torch.zeros_like(seen), seen)) == pytest.approx(1)
    assert float(map_loss(torch.zeros_like(seen)[..., :7, :7], seen)) == pytest.approx(1)


def test_a_mirrored_face_is_not_held_against_the_maps_of_the_face_as_it_is() -> None:
    batch = next(batches().since(0, 32))
    for mirrored, least in ((True, 0.0), (False, 0.1)):
        turned = replace(batch, mirrored=np.full(len(batch.rows), mirrored))
        _cosine, _relation, imitation = Training(PLAN, torch.device("cpu")).learn(turned, maps())
        assert (imitation == 0) is mirrored
        assert imitation >= least


def test_muons_steps_are_equally_long_in_all_directions() -> None:
    for shape in ((8, 72), (72, 8)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(*shape)))
        assert float(values.min()) > 0.6
        assert float(values.max()) < 1.3


def test_the_directions_kept_are_those_with_most_of_the_vectors() -> None:
    chance = np.random.default_rng(0)
    vectors = chance.standard_normal((50, 6)).astype(np.float32) * np.array([9, 1, 1, 9, 1, 1], np.float32)
    basis = project(vectors, 2)
    assert np.allclose(basis.T @ basis, np.eye(2), atol=1e-5)
    assert np.abs(basis[[0, 3]]).max(0).min() > 0.7


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Of torch's own exporter.
def test_what_is_written_gives_what_was_trained(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = Reduced(EncoderNet(SHAPES["small"], 8, 96)).eval()
    faces = np.random.default_rng(0).standard_normal((3, 3, 112, 112)).astype(np.float32)
    write_onnx(net, tmp_path / "full.onnx")
    shrink(tmp_path / "full.onnx", tmp_path / "small.onnx")
    assert largest_difference(net, tmp_path / "full.onnx", faces)[0] < TOLERANCE
    assert largest_difference(net, tmp_path / "small.onnx", faces)[1] > 0.999
    small, full = ((tmp_path / f"{name}.onnx").stat().st_size for name in ("small", "full"))
    assert small < 0.3 * full
