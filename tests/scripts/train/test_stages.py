"""Parts of an encoder that learn from the parts of a teacher; needs torch, which the service does not."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip(
    "torch", reason="torch is not installed; only training needs it: scripts/train/requirements.txt"
)

import torch
from torch.nn import functional

from scripts.train.encoder_net import SHAPES, EncoderNet
from scripts.train.maps import MAP_CHANNELS, TeacherMaps
from scripts.train.train_encoder import Plan, Training
from scripts.train.train_stages import SIDE, Lessons, Part, PartTraining, between, join, teach_part
from tests.scripts.train.test_batches import pool_of

CPU = torch.device("cpu")
TEMPLATE = np.array([(48.0, 61.0), (86.0, 61.0), (67.0, 82.0), (52.0, 104.0), (84.0, 104.0)], np.float32)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def lessons() -> Lessons:
    pool = pool_of(aaf=40, utkface=40)
    pool.points[:] = TEMPLATE
    chance = np.random.default_rng(2)
    maps = {
        side: chance.integers(-60, 60, (len(pool), side, side, channels), np.int8)
        for side, channels in MAP_CHANNELS.items()
    }
    maps[7][:] = maps[14][:, ::2, ::2]  # Something that can be learned.
    targets = chance.standard_normal((len(pool), 8)).astype(np.float32)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    return Lessons(pool, TeacherMaps(maps), targets, seed=5)


def parts(seed: int = 0) -> list[Part]:
    torch.manual_seed(seed)
    net = between(EncoderNet(SHAPES["small"], 8, SIDE))
    return [Part(number, net) for number in (1, 2, 3)]


def test_parts_take_and_give_what_the_teacher_has_between_them() -> None:
    given = torch.randn(2, 3, SIDE, SIDE)
    for part, (side, channels) in zip(parts(), MAP_CHANNELS.items(), strict=True):
        given, vectors = part.eval()(given)
        assert given.shape == (2, channels, side, side)
        assert (vectors is None) is (side != 7)
    assert vectors.shape == (2, 8)


def test_joined_parts_answer_as_one_after_the_other() -> None:
    trained = parts()
    for part in trained:  # Running means and variances as after some training, not 0 and 1.
        for module in part.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
                module.weight.data.uniform_(0.5, 1.5)
        part.eval()
        part.adaptor.bias.data.zero_()  # Along the edges the joined net sees nothing instead of the bias.
    joined = join(trained, EncoderNet(SHAPES["small"], 8, SIDE)).eval()
    faces = torch.randn(3, 3, SIDE, SIDE)
    with torch.no_grad():
        seen, _ = trained[0](faces)
        seen, _ = trained[1](seen)
        _, vectors = trained[2](seen)
        assert torch.allclose(joined(faces), vectors, rtol=1e-3, atol=1e-4 * float(vectors.abs().max()))


def test_a_bias_of_what_turns_a_map_is_kept_but_along_the_edges() -> None:
    trained = [part.eval() for part in parts(1)]
    joined = join(trained, EncoderNet(SHAPES["small"], 8, SIDE)).eval()
    at, face = len(trained[0].body), torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        first = joined.body[at](joined.body[:at](face))
        expected = trained[1].body[0](trained[0](face)[0])
    assert torch.allclose(first[..., 1:, 1:], expected[..., 1:, 1:], atol=1e-4)
    assert not torch.allclose(first[..., 0, :], expected[..., 0, :], atol=1e-4)


def test_a_part_taken_up_again_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    drawn = lessons()
    whole, resumed = PartTraining(parts()[2], CPU), PartTraining(parts(1)[2], CPU)
    teach_part(whole, drawn, 1, tmp_path)
    resumed.load(tmp_path / "stage-3.pt")
    for training in (whole, resumed):
        training.learn(drawn.of(3, np.arange(8)), 0.5)
    for ours, theirs in zip(whole.part.parameters(), resumed.part.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_learning_brings_a_map_nearer_to_the_teachers() -> None:
    drawn = lessons()
    training = PartTraining(parts()[2], CPU)
    few = drawn.of(3, np.arange(8))
    losses = [training.learn(few, 1.0) for _ in range(15)]
    assert losses[-1] < 0.9 * losses[0]
    assert all(np.isfinite(training.measured(drawn)))


def test_faces_never_learned_from_are_not_drawn() -> None:
    drawn = lessons()
    unseen = {bytes(drawn.of(1, np.array([row]))[0].numpy()) for row in drawn.unseen}
    learned = {bytes(face.numpy()) for face in drawn.batch(1, 0)[0].split(1)}
    assert unseen
    assert not unseen & learned


def test_training_as_a_whole_begins_with_what_the_parts_learned() -> None:
    trained = [part.eval() for part in parts()]
    joined = join(trained, EncoderNet(SHAPES["small"], 8, SIDE))
    adaptors = torch.nn.ModuleList(part.adaptor for part in trained[1:])
    state = {"side": SIDE, "net": joined.state_dict(), "adaptors": adaptors.state_dict()}
    plan = Plan(shape="small", dimension=8, steps=4, batch=3, sides=(SIDE,), shares=(), peak=0.02, seed=3)
    training = Training(plan, CPU)
    training.begin_with(state)
    faces = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        ours, theirs = training.averaged()(faces), joined.eval()(faces)
    assert float(functional.cosine_similarity(ours, theirs).min()) > 0.9999
