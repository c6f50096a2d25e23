"""The pack of YuNet and EdgeFace-XS that tests and measurements make from the models beside the project."""

from dataclasses import replace
from pathlib import Path

from index.pack_store import PackRecipe, assemble_pack
from scripts.demo_pack import recipe_beside

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


def dev_pack_recipe(models: Path) -> PackRecipe:
    """Return what the models' README says of them, and what was measured.

    Args:
        models: The folder `models` of the material beside the project.
    """
    return replace(
        recipe_beside(models),
        calibration=CALIBRATION,
        calibration_source="SCUT-FBP: 13,496,528 pairs of different persons",
    )


def make_dev_pack(models: Path, packs_dir: Path) -> Path:
    """Put the pack into a folder of packs and return its directory."""
    return assemble_pack(dev_pack_recipe(models), packs_dir)
