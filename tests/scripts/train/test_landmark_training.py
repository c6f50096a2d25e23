"""Training, resuming and exporting the net for landmarks; needs torch, which the service does not."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

pytest.importorskip(
    "torch", reason="torch is not installed; only training needs it: scripts/train/requirements.txt"
)

import torch

from index.landmarks import LandmarkRefiner, template_in_view
from index.pack_manifest import LandmarksManifest
from scripts.train.landmark_net import LandmarkNet
from scripts.train.landmark_views import MARGIN, VIEW_PX
from scripts.train.train_landmarks import LARGEST_GAP, Plan, Training, export_landmarks, point_errors
from tests.scripts.train.test_landmark_views import drawing

PLAN = Plan(steps=6, batch=60, seed=2)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def trained(training: Training, until: int) -> list[float]:
    return [sum(training.learn(views)) for views in drawing().since(training.step, until)]


def test_training_taken_up_again_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    whole = Training(PLAN, torch.device("cpu"))
    expected = trained(whole, 4)
    stopped = Training(PLAN, torch.device("cpu"))
    trained(stopped, 2)
    stopped.save(tmp_path / "landmarks.pt")
    resumed = Training(PLAN, torch.device("cpu"))
    resumed.load(torch.load(tmp_path / "landmarks.pt", weights_only=True))
    assert trained(resumed, 4) == pytest.approx(expected[2:], rel=1e-3)


def test_an_untrained_net_answers_with_the_template(tmp_path: Path) -> None:
    net = LandmarkNet().eval()
    with torch.no_grad():
        answers = net(torch.zeros(3, 3, VIEW_PX, VIEW_PX)).numpy()
    assert answers[:, :10].reshape(-1, 5, 2) == pytest.approx(
        np.stack([template_in_view(MARGIN)] * 3), abs=0.01
    )


def test_what_is_exported_answers_like_the_net_and_fits_the_loader(tmp_path: Path) -> None:
    path = tmp_path / "landmarks.onnx"
    assert export_landmarks(LandmarkNet().eval(), path) <= LARGEST_GAP
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    LandmarkRefiner(
        session, LandmarksManifest(file=path.name, sha256="0" * 64, input_size=VIEW_PX, margin=MARGIN)
    )


def test_errors_are_shares_of_the_eyes_distance() -> None:
    truth = np.array([[(0, 0), (10, 0), (5, 5), (1, 9), (9, 9)]], np.float32)
    assert point_errors(truth + np.array([0, 1], np.float32), truth) == pytest.approx([0.1])
