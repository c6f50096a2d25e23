"""Finds a model pack for the demo, or makes one from models that lie beside the project."""

from pathlib import Path

from index.pack_store import PackRecipe, assemble_pack
from scripts.failures import CommandError
from service.engine import DELIVERED_PACKS, find_pack
from service.errors import SettingsError
from service.settings import Settings

MODELS_BESIDE = DELIVERED_PACKS.parent.parent / "shared" / "models"
"""Optional models beside the project, for measuring; never part of it."""

CALIBRATION = (
    (0.1, 0.171),
    (0.15, 0.0704),
    (0.2, 0.0261),
    (0.25, 0.00904),
    (0.3, 0.00289),
    (0.35, 0.000819),
    (0.4, 0.000197),
    (0.45, 4.19e-05),
    (0.5, 9.56e-06),
    (0.55, 2.3e-06),
)
"""Thresholds, and the share of pairs of different persons that reach them.

Source: `oneperson pack calibrate` on the 5,196 pictures of `scut-fbp` in `../shared/faces/pool`, mostly
Asian and frontal as the registries are that this is for; the 82 pairs at 0.6 or above were taken for one
person each (half of them score above 0.9), which leaves 13,496,528. For comparison, at 0.40: 0.0000154
among 5,259 persons of CelebA, one picture each, and 0.00023 among 2,999 pictures of All-Age-Faces, whose
labels are unknown. A table of CelebA or LFW would promise a tenth of the false alarms that come.
"""


def demo_pack(settings: Settings, packs_dir: Path, *, models: Path = MODELS_BESIDE) -> Path:
    """Return the directory of the pack that the demo runs with.

    Args:
        settings: Name the pack to try first; by default the delivered one.
        packs_dir: Where a pack is made if none is installed.
        models: The models to make it from.

    Raises:
        CommandError: There is no pack and nothing to make one from.
        PackError: The models are damaged or do not run.
    """
    try:
        return find_pack(settings).absolute()
    except SettingsError as error:
        recipe = recipe_beside(models)
        if recipe.detector.is_file() and recipe.encoder.is_file():
            return assemble_pack(recipe, packs_dir).absolute()
        raise CommandError(
            f"{error}. Or add a published one: 'oneperson pack add opencv-zoo --accept-licence', "
            "then ONEPERSON_PACK=opencv-zoo"
        ) from None


def recipe_beside(models: Path) -> PackRecipe:
    """Return what the README of the models beside the project says of them."""
    return PackRecipe(
        name="yunet-edgeface",
        licence="YuNet: BSD 3-clause (libfacedetection.train). EdgeFace-XS: non-commercial, measuring only.",
        source="the models beside the project",
        detector=models / "yunet" / "yunet_n_dynamic.onnx",
        detector_layout="yunet",
        encoder=models / "edgeface-xs" / "edgeface_xs.onnx",
        colour="rgb",
        mean=(127.5, 127.5, 127.5),
        std=(128.0, 128.0, 128.0),
        calibration=CALIBRATION,
        calibration_source="SCUT-FBP: 13,496,528 pairs of different persons",
    )
