"""The pack of YuNet and EdgeFace-XS that tests and measurements make from the models beside the project."""

from pathlib import Path

from index.pack_store import assemble_pack
from scripts.demo_pack import recipe_beside


def make_dev_pack(models: Path, packs_dir: Path) -> Path:
    """Put the pack into a folder of packs and return its directory.

    Args:
        models: The folder `models` of the material beside the project.
        packs_dir: Where packs lie.
    """
    return assemble_pack(recipe_beside(models), packs_dir)
