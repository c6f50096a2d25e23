"""Folders of model packs: putting packs in, finding them, listing them."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from index.errors import PackError
from index.pack import (
    MANIFEST_NAME,
    DetectorManifest,
    EncoderManifest,
    LandmarksManifest,
    PackManifest,
    encoder_dimension,
    model_sha256,
    read_manifest,
    verify_pack,
    write_manifest,
)
from index.pack_manifest import Colour, DetectorLayout, Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRecipe:
    """Models without a manifest, and what one must know of them.

    Attributes:
        name: Of the pack to make.
        version: Of the pack to make.
        licence: Terms of the weights, in words.
        source: Where the weights came from.
        detector: The detector's ONNX file.
        detector_layout: `scrfd` or `yunet`.
        encoder: The encoder's ONNX file, layout `arcface`.
        colour: Channel order of the encoder's input.
        mean: Subtracted from the encoder's 0-255 input, per channel.
        std: Divides what remains, per channel.
        flip: Add the mirrored crop's output.
        landmarks: The ONNX file of the model that corrects points; None: there is none.
        landmarks_size: See `LandmarksManifest.input_size`.
        landmarks_margin: See `LandmarksManifest.margin`.
        input_size: See `DetectorManifest.input_size`.
        fallback_size: See `DetectorManifest.fallback_size`.
        calibration: Measured false match rates, see `PackManifest.calibration`.
        calibration_source: What they were measured on.
    """

    name: str
    version: str = "1"
    licence: str
    source: str = ""
    detector: Path
    detector_layout: DetectorLayout
    encoder: Path
    colour: Colour
    mean: Triple
    std: Triple
    flip: bool = False
    landmarks: Path | None = None
    landmarks_size: int = 64
    landmarks_margin: float = 0.12
    input_size: int = 320
    fallback_size: int = 640
    calibration: tuple[tuple[float, float], ...] = ()
    calibration_source: str = ""


def assemble_pack(recipe: PackRecipe, packs_dir: Path) -> Path:
    """Make a pack from loose models: copy them, write the manifest, verify, and only then put it in place.

    Args:
        recipe: The models and their constants; checksums and dimension are found here.
        packs_dir: Folder of packs; made if need be.

    Returns:
        The pack's directory, `packs_dir/name`.

    Raises:
        PackError: A model is missing or does not fit, or a pack of that name is there already.
    """
    with _staged(packs_dir, recipe.name) as stage:
        for model in filter(None, (recipe.detector, recipe.landmarks, recipe.encoder)):
            _copy(model, stage / model.name)
        write_manifest(_manifest(recipe), stage)
        verify_pack(stage)
    return packs_dir / recipe.name


def install_pack(source: Path, packs_dir: Path, *, name: str | None = None) -> Path:
    """Copy a pack that has a manifest into a folder of packs, verified before it is put in place.

    Args:
        source: A directory with `pack.toml`; only it and the files that it names are copied.
        packs_dir: Folder of packs; made if need be.
        name: Another name than the manifest's.

    Returns:
        The pack's directory.

    Raises:
        PackError: The pack is not in order, or one of that name is there already.
    """
    manifest = read_manifest(source)
    named = replace(manifest, name=name or manifest.name)
    with _staged(packs_dir, named.name) as stage:
        for file in {model.file for model in manifest.models}:
            _copy(source / file, stage / file)
        write_manifest(named, stage)
        verify_pack(stage)
    return packs_dir / named.name


def locate_pack(named: str, folders: Sequence[Path]) -> Path:
    """Find a pack by directory or by name.

    Args:
        named: A directory that holds `pack.toml`, or a name in one of the folders.
        folders: Folders of packs, the first that has the name wins.

    Raises:
        PackError: There is none.
    """
    for directory in (Path(named), *(folder / named for folder in folders)):
        if (directory / MANIFEST_NAME).is_file():
            return directory
    raise PackError(f"no model pack '{named}'; 'oneperson pack list' shows what is there")


def list_packs(folders: Sequence[Path]) -> list[Path]:
    """List the directories that hold a manifest, readable or not, folder by folder, sorted by name."""
    return [
        manifest.parent
        for folder in folders
        if folder.is_dir()
        for manifest in sorted(folder.glob(f"*/{MANIFEST_NAME}"))
        if not manifest.parent.name.startswith(".")
    ]


def _manifest(recipe: PackRecipe) -> PackManifest:
    detector = DetectorManifest(
        layout=recipe.detector_layout,
        file=recipe.detector.name,
        sha256=model_sha256(recipe.detector),
        input_size=recipe.input_size,
        fallback_size=recipe.fallback_size,
    )
    encoder = EncoderManifest(
        file=recipe.encoder.name,
        sha256=model_sha256(recipe.encoder),
        colour=recipe.colour,
        mean=recipe.mean,
        std=recipe.std,
        dimension=encoder_dimension(recipe.encoder),
        flip=recipe.flip,
    )
    return PackManifest(
        name=recipe.name,
        version=recipe.version,
        licence=recipe.licence,
        source=recipe.source,
        detector=detector,
        landmarks=_landmarks(recipe),
        encoder=encoder,
        calibration=recipe.calibration,
        calibration_source=recipe.calibration_source,
    )


def _landmarks(recipe: PackRecipe) -> LandmarksManifest | None:
    if recipe.landmarks is None:
        return None
    return LandmarksManifest(
        file=recipe.landmarks.name,
        sha256=model_sha256(recipe.landmarks),
        input_size=recipe.landmarks_size,
        margin=recipe.landmarks_margin,
    )


@contextmanager
def _staged(packs_dir: Path, name: str) -> Iterator[Path]:
    """Give an empty directory that becomes `packs_dir/name` when the block succeeds, else disappears."""
    target = packs_dir / name
    if target.exists():
        raise PackError(f"{target}: is there already; choose another --name or remove it")
    packs_dir.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".adding-", dir=packs_dir))
    try:
        yield stage
        stage.chmod(0o755)
        try:
            stage.rename(target)
        except OSError as error:
            raise PackError(f"{target}: cannot be put in place ({error.strerror})") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise PackError(f"{source}: cannot be copied ({error.strerror})") from error
