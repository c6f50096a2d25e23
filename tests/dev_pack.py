"""The pack of YuNet and EdgeFace-XS that tests and measurements make from the models beside the project."""

from pathlib import Path

from index.pack_store import PackRecipe, assemble_pack

DEV_PACK_NAME = "yunet-edgeface"


def dev_pack_recipe(models: Path) -> PackRecipe:
    """Return what the models' README says of them.

    Args:
        models: The folder `models` of the material beside the project.
    """
    return PackRecipe(
        name=DEV_PACK_NAME,
        licence="YuNet: BSD 3-clause (libfacedetection.train). EdgeFace-XS: non-commercial, measuring only.",
        source="the models beside the project",
        detector=models / "yunet" / "yunet_n_dynamic.onnx",
        detector_layout="yunet",
        encoder=models / "edgeface-xs" / "edgeface_xs.onnx",
        colour="rgb",
        mean=(127.5, 127.5, 127.5),
        std=(128.0, 128.0, 128.0),
    )


def make_dev_pack(models: Path, packs_dir: Path) -> Path:
    """Put the pack into a folder of packs and return its directory."""
    return assemble_pack(dev_pack_recipe(models), packs_dir)
