"""Training, resuming and exporting a detector; needs torch, which the service does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

pytest.importorskip(
    "torch", reason="torch is not installed; only training needs it: scripts/train/requirements.txt"
)

import torch

from index.detector import ScrfdModel
from index.pack_manifest import DetectorManifest
from scripts.train.detector_batches import Batches
from scripts.train.detector_export import LARGEST_GAP, export_detector
from scripts.train.detector_loss import Wanted, losses, overlap_and_distance
from scripts.train.detector_net import SHAPES, Answers, DetectorNet, decoded, widened
from scripts.train.detector_outputs import Agreement
from scripts.train.detector_targets import BASES_PX, STRIDES, layout
from scripts.train.detector_training import Plan, Training
from tests.scripts.train.detector_scenes import bank_of

PLAN = Plan(shape="compact", steps=6, batch=2, peak=1e-3, decay=0.01, seed=3)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def trained(training: Training, until: int) -> list[float]:
    batches = Batches(bank_of(12), size=PLAN.batch, seed=PLAN.seed)
    return [float(training.learn(batch).total()) for batch in batches.since(training.step, until)]


def test_training_taken_up_again_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    whole = Training(PLAN, torch.device("cpu"))
    expected = trained(whole, 4)
    stopped = Training(PLAN, torch.device("cpu"))
    trained(stopped, 2)
    stopped.save(tmp_path / "detector.pt")
    resumed = Training(replace(PLAN), torch.device("cpu"))
    resumed.load(torch.load(tmp_path / "detector.pt", weights_only=True))
    assert trained(resumed, 4) == pytest.approx(expected[2:], rel=1e-4)
    for name, value in whole.mean.items():
        assert torch.allclose(value.float(), resumed.mean[name].float(), atol=1e-4), name


def test_a_check_measures_shares() -> None:
    batches = Batches(bank_of(12, held_out=True), size=12, seed=5)
    check = Training(PLAN, torch.device("cpu")).check([batches.batch(0)])
    assert check.found == 0  # Nothing is learned yet, and nobody is sure of anything.
    assert check.false == 0
    assert check.point_error > 0


def test_answers_that_are_right_cost_next_to_nothing_and_wrong_ones_more() -> None:
    boxes = torch.tensor([[40.0, 40.0, 100.0, 120.0]])
    points = torch.tensor([[[55.0, 65], [85, 65], [70, 80], [58, 100], [82, 100]]])
    assigned = torch.full((1, 10), -1)
    assigned[0, 3] = 0

    def cost(*, shift: float, sure: float) -> float:
        logits = torch.full((1, 10), -float(sure))
        logits[0, 3] = sure
        answers = Answers(logits, (boxes + shift).expand(1, 10, 4), (points + shift).expand(1, 10, 5, 2))
        return float(losses(answers, Wanted(assigned, boxes, points)).total())

    assert cost(shift=0, sure=8) < 0.01
    assert cost(shift=0, sure=8) < cost(shift=2, sure=8) < cost(shift=15, sure=8)
    assert cost(shift=0, sure=8) < cost(shift=0, sure=0) < cost(shift=0, sure=-4)


def test_overlap_of_boxes() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [10, 10, 0, 0]])
    targets = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 10, 10]])
    overlaps, distances = overlap_and_distance(boxes, targets)
    assert overlaps.tolist() == pytest.approx([1, 1 / 3, 0])
    assert distances[0] == 0
    assert distances[1] == pytest.approx(25 / (15**2 + 10**2))


def test_insightface_reads_from_the_exported_file_what_the_net_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = DetectorNet(SHAPES["compact"]).eval()
    square = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    scaled = (torch.from_numpy(square[:, :, ::-1].copy()).permute(2, 0, 1)[None].float() - 127.5) / 128
    with torch.no_grad():
        places = zip(STRIDES, BASES_PX, net(scaled), strict=True)
        said = decoded([Agreement(stride, bases)(answers) for stride, bases, answers in places], 320)
    best = int(said.logits[0].argmax())
    path = tmp_path / "detector.onnx"
    assert export_detector(net, path) <= LARGEST_GAP

    threshold = float(said.logits[0].sigmoid()[best]) - 1e-5
    manifest = DetectorManifest(
        layout="scrfd", file=path.name, sha256="0" * 64, fallback_size=640, score_threshold=threshold
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows = ScrfdModel(str(path), session, manifest).find(square)
    assert len(rows) >= 1
    left, top, right, bottom = said.boxes[0, best].tolist()
    assert rows[0, :4] == pytest.approx([left, top, right - left, bottom - top], abs=0.05)
    assert rows[0, 4:14] == pytest.approx(said.points[0, best].flatten().numpy(), abs=0.05)
    assert len(layout(320).bases) == said.logits.shape[1]


def test_neighbours_that_mean_the_same_face_agree_on_it_and_the_unsure_are_outvoted() -> None:
    stride, bases = 16, (64.0, 120.0)
    answers = torch.zeros(1, 30, 5, 5)
    face = torch.tensor([10.0, 20, 70, 90, *range(20, 30)])  # A box and five points, in pixels.
    outward = torch.tensor([-1.0, -1, 1, 1] + [1.0] * 10)
    for row in range(5):
        for column in range(5):
            place = torch.tensor([column, row] * 7) * float(stride)
            said = outward * (face - place) / bases[1]
            answers[0, 6:10, row, column], answers[0, 20:30, row, column] = said[:4], said[4:]
    answers[0, 1, 2, 2] = 5.0
    agreed = Agreement(stride, bases)(answers)
    assert torch.allclose(agreed[..., 1:4, 1:4], answers[..., 1:4, 1:4], atol=1e-4)
    answers[0, 1] = -3.0
    answers[0, 1, 2, 2] = 5.0
    answers[0, 20:30, 2, 3] += 1.0  # An unsure neighbour, off by 120 pixels, moves the face by less than one.
    assert float((Agreement(stride, bases)(answers) - agreed)[0, 20:30, 2, 2].abs().max()) < 1 / 120


def test_a_wider_net_begins_by_answering_as_the_narrow_one_did() -> None:
    torch.manual_seed(1)
    narrow, wide = (DetectorNet(SHAPES[name]).eval() for name in ("compact", "wide"))
    for module in narrow.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    wide.load_state_dict(widened(narrow.state_dict(), wide))
    picture = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        for one, other in zip(narrow(picture), wide(picture), strict=True):
            assert torch.allclose(one, other, atol=1e-5)
    with pytest.raises(ValueError, match="too small"):
        widened(wide.state_dict(), narrow)
