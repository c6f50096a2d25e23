from pathlib import Path

import pytest

from index.calibration import from_pack_table
from index.pack import read_manifest
from scripts.demo_pack import CALIBRATION, demo_pack, recipe_beside
from scripts.failures import CommandError
from service.settings import Settings
from service.tables import now


def settings(tmp_path: Path, pack: str) -> Settings:
    return Settings(data_dir=tmp_path / "var", pack=pack)


def test_the_pack_of_the_settings_is_taken_first(tmp_path: Path, synthetic_pack_dir: Path) -> None:
    chosen = demo_pack(settings(tmp_path, str(synthetic_pack_dir)), tmp_path / "packs")
    assert chosen == synthetic_pack_dir
    assert not (tmp_path / "packs").exists()


def test_without_any_pack_the_message_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="oneperson pack add"):
        demo_pack(settings(tmp_path, "none-such"), tmp_path / "packs", models=tmp_path)


@pytest.mark.faces
def test_a_pack_is_made_from_the_models_beside_the_project(tmp_path: Path, shared_dir: Path) -> None:
    chosen = demo_pack(settings(tmp_path, "none-such"), tmp_path / "packs", models=shared_dir / "models")
    assert read_manifest(chosen).calibration == CALIBRATION


def test_the_table_of_the_made_pack_gives_a_threshold_for_a_small_gallery(tmp_path: Path) -> None:
    recipe = recipe_beside(tmp_path)
    calibration = from_pack_table(
        recipe.calibration,
        persons=8,
        target_fpir=0.01,
        gallery="flagged",
        contract_id="0" * 64,
        created_at=now(),
    )
    assert 0.30 < calibration.threshold < 0.35  # one pair in 800: between these rows of the table
    assert calibration.fpir.value == pytest.approx(0.01, rel=0.01)
