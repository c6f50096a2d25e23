"""`oneperson pack`: add, list and verify model packs."""

import tempfile
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from index.errors import PackError
from index.extraction import Extractor
from index.labelled import read_labelled
from index.labelled_templates import encode_labelled
from index.pack import MANIFEST_NAME, load_pack, read_manifest, verify_pack, write_manifest
from index.pack_calibration import measure_match_rates, with_match_rates
from index.pack_manifest import PackManifest, Triple
from index.pack_store import PackRecipe, assemble_pack, install_pack, list_packs, locate_pack
from scripts.pack_download import SOURCES, PackSource, fetch
from scripts.progress import progress
from service.engine import DELIVERED_PACKS
from service.settings import load_settings

app = typer.Typer(help="Add, list and verify model packs.", no_args_is_help=True)


class Layout(StrEnum):
    """Detector layouts."""

    SCRFD = "scrfd"
    YUNET = "yunet"


class ColourOrder(StrEnum):
    """Channel orders."""

    RGB = "rgb"
    BGR = "bgr"


IntoOption = Annotated[
    Path | None, typer.Option(help="Folder of packs; default: the one of the settings (var/packs).")
]


@app.command()
def add(
    source: Annotated[str, typer.Argument(help="A directory, or: " + ", ".join(SOURCES))],
    *,
    name: Annotated[str | None, typer.Option(help="Name of the pack.")] = None,
    into: IntoOption = None,
    detector: Annotated[
        Path | None, typer.Option(help="Detector's ONNX file, relative to the directory.")
    ] = None,
    detector_layout: Annotated[Layout, typer.Option(help="What the detector's outputs mean.")] = Layout.YUNET,
    input_size: Annotated[int, typer.Option(help="Side of the detector's input in pixels.")] = 320,
    fallback_size: Annotated[
        int, typer.Option(help="Larger side tried when no face was found; 0: none.")
    ] = 640,
    landmarks: Annotated[
        Path | None,
        typer.Option(
            help="ONNX file of a model that corrects the detector's points, likewise; none is needed."
        ),
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Encoder's ONNX file (112 x 112), relative to the directory.")
    ] = None,
    colour: Annotated[ColourOrder, typer.Option(help="Channel order of the encoder.")] = ColourOrder.RGB,
    mean: Annotated[
        str, typer.Option(help="Subtracted from 0-255: one number, or three with commas.")
    ] = "127.5",
    std: Annotated[
        str, typer.Option(help="Divides what remains: one number, or three with commas.")
    ] = "127.5",
    flip: Annotated[bool, typer.Option("--flip", help="Add the mirrored crop's output.")] = False,
    licence: Annotated[str | None, typer.Option(help="Terms of the weights, in words.")] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You have read the terms of what is downloaded.")
    ] = False,
    mirror: Annotated[
        str | None, typer.Option(help="Address of a folder that holds the same files as the publisher's.")
    ] = None,
    timeout_s: Annotated[float, typer.Option(min=1, help="Longest wait for the network, in seconds.")] = 60.0,
) -> None:
    """Put a model pack into the folder of packs, verified.

    A directory with a pack.toml is copied. A directory without one needs --detector, --encoder and
    --licence, and the manifest is written. A published name is downloaded, with its checksum checked.
    """
    packs_dir = into or load_settings().packs_dir
    if source in SOURCES and not Path(source).is_dir():
        added = _add_published(
            SOURCES[source],
            packs_dir,
            name,
            accept_licence=accept_licence,
            mirror=mirror,
            timeout_s=timeout_s,
        )
    elif (Path(source) / MANIFEST_NAME).is_file():
        added = install_pack(Path(source), packs_dir, name=name)
    else:
        recipe = _recipe(
            Path(source), name, detector, encoder, licence, layout=detector_layout, colour=colour
        )
        recipe = replace(recipe, input_size=input_size, fallback_size=fallback_size, flip=flip)
        if landmarks is not None:
            recipe = replace(recipe, landmarks=Path(source) / landmarks)
        added = assemble_pack(_with_constants(recipe, mean, std), packs_dir)
    manifest = read_manifest(added)
    console = _console()
    console.print(f"Added {_summary(manifest)}")
    console.print(f"Use it with ONEPERSON_PACK={manifest.name if into is None else added}")


@app.command("list")
def list_(into: IntoOption = None) -> None:
    """Show the packs that are there."""
    console = _console()
    found = list_packs([into or load_settings().packs_dir, DELIVERED_PACKS])
    for directory in found:
        try:
            console.print(f"{_summary(read_manifest(directory))}\n    {directory}")
        except PackError as error:
            console.print(f"{directory.name} cannot be used: {error}\n    {directory}")
    if not found:
        console.print("There is no pack; add one with 'oneperson pack add'.")


@app.command()
def verify(
    pack: Annotated[
        str | None, typer.Argument(help="Name or directory; default: the pack of the settings.")
    ] = None,
    into: IntoOption = None,
) -> None:
    """Check a pack's files against its manifest and run its models."""
    settings = load_settings()
    folders = [into or settings.packs_dir, DELIVERED_PACKS]
    manifest = verify_pack(locate_pack(pack or settings.pack, folders))
    _console().print(f"In order: {_summary(manifest)}")


@app.command()
def calibrate(
    pack: Annotated[str, typer.Argument(help="Name or directory of a pack that was added.")],
    directory: Annotated[Path, typer.Argument(help="Holds manifest.csv (path,identity) and the pictures.")],
    *,
    source: Annotated[str, typer.Option(help="What the pictures are, for the manifest.")],
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps templates, so that interrupted work goes on.")
    ] = None,
    into: IntoOption = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Pictures encoded at once.")] = 2,
) -> None:
    """Measure the pack's false match rates on labelled portraits and write them into its manifest.

    Thresholds rest on this table until a gallery is large enough to be measured itself, so the persons
    should be like those of the registry. Best is one picture per person, of 1,000 persons or more.
    """
    place = locate_pack(pack, [into or load_settings().packs_dir])
    extractor = Extractor(load_pack(place))
    pictures = read_labelled(directory)
    with (
        tempfile.TemporaryDirectory(prefix="oneperson-calibrate-") as scratch,
        progress("Encoding portraits", len(pictures)) as shown,
    ):
        outcomes = encode_labelled(
            directory,
            pictures,
            extractor,
            cache_dir=cache or Path(scratch),
            threads=threads,
            advance=shown.advance,
        )
    points, pairs = measure_match_rates(pictures, outcomes)
    text = f"{source}: {pairs:,} pairs of different persons"
    write_manifest(with_match_rates(extractor.pack.manifest, points, source=text), place)
    console = _console()
    console.print(f"{text}. Threshold and false match rate per pair:")
    for threshold, rate in points:
        console.print(f"  {threshold:.2f}  {rate:.3g}")


def _add_published(
    source: PackSource,
    packs_dir: Path,
    name: str | None,
    *,
    accept_licence: bool,
    mirror: str | None,
    timeout_s: float,
) -> Path:
    """Show the terms; if they are accepted, download, check and assemble."""
    console = _console()
    console.print(f"Terms of {source.name}: {source.licence}.")
    console.print(f"See {source.licence_url}")
    if not accept_licence:
        raise PackError("nothing was downloaded; read the terms, then add --accept-licence")
    with tempfile.TemporaryDirectory(prefix="oneperson-pack-") as folder:
        with progress(f"Downloading {source.name} (MiB)", source.chunks) as shown:
            fetch(source, Path(folder), timeout_s=timeout_s, mirror=mirror, report=shown.advance)
        return assemble_pack(source.recipe(Path(folder), name=name or source.name), packs_dir)


def _recipe(
    directory: Path,
    name: str | None,
    detector: Path | None,
    encoder: Path | None,
    licence: str | None,
    *,
    layout: Layout,
    colour: ColourOrder,
) -> PackRecipe:
    """Gather what the operator says of loose models."""
    if not directory.is_dir():
        raise PackError(f"'{directory}' is no directory, and none of: {', '.join(SOURCES)}")
    if detector is None or encoder is None or licence is None:
        raise PackError(
            f"{directory} holds no {MANIFEST_NAME}; "
            "say what the models are with --detector, --encoder and --licence"
        )
    return PackRecipe(
        name=name or directory.resolve().name,
        licence=licence,
        detector=directory / detector,
        detector_layout=layout.value,
        encoder=directory / encoder,
        colour=colour.value,
        mean=(127.5,) * 3,
        std=(127.5,) * 3,
    )


def _with_constants(recipe: PackRecipe, mean: str, std: str) -> PackRecipe:
    return replace(recipe, mean=_triple("--mean", mean), std=_triple("--std", std))


def _triple(option: str, text: str) -> Triple:
    """Read one number, or three separated by commas."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise PackError(f"{option} '{text}': one number, or three separated by commas") from None
    if len(values) not in (1, 3):
        raise PackError(f"{option} '{text}': one number, or three separated by commas")
    first, second, third = values * 3 if len(values) == 1 else values
    return first, second, third


def _summary(manifest: PackManifest) -> str:
    encoder, corrected = manifest.encoder, " with corrected points" if manifest.landmarks else ""
    return (
        f"{manifest.name} {manifest.version}: detector {manifest.detector.layout}{corrected}, "
        f"encoder {encoder.layout} with {encoder.dimension} numbers, contract {manifest.contract_id[:16]}. "
        f"{manifest.licence}"
    )


def _console(*, stderr: bool = False) -> Console:
    """Whole lines, as they are: names and terms may hold brackets."""
    return Console(stderr=stderr, soft_wrap=True, markup=False, highlight=False)
