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
    (0.05, 0.290),
    (0.10, 0.113),
    (0.15, 0.0325),
    (0.20, 0.00718),
    (0.25, 0.00135),
    (0.30, 0.000239),
    (0.35, 0.0000361),
    (0.40, 0.00000537),
)
"""Scores of different persons by YuNet and EdgeFace-XS, and the share of pairs that reach them.

Source: all 5,400,234 pairs of different persons among the 3,288 LFW pictures of `../shared/faces/eval`
that this pack admits, encoded by `index.extraction`; rows reached by fewer than 20 pairs are left out.
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
        calibration_source="LFW; thresholds that hold for it are too low for some other populations",
    )
