"""`oneperson evaluate`: how well a pack tells labelled persons apart."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from index.evaluation import Evaluation, evaluate_groups, evaluate_outcomes
from index.evaluation_report import write_report
from index.extraction import Extractor
from index.labelled import read_labelled
from index.labelled_templates import encode_labelled
from index.pack import load_pack
from index.types import Rate
from scripts.progress import progress
from service.engine import find_pack
from service.settings import load_settings


def evaluate(
    directory: Annotated[Path, typer.Argument(help="Holds manifest.csv (path,identity) and the pictures.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the report; it will hold portraits and templates.")],
    pack: Annotated[
        str | None, typer.Option(help="Name or directory of the pack; default: the one in the settings.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="A further column of manifest.csv, such as sex: figures for each value."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Pictures encoded at once.")] = 2,
) -> None:
    """Measure identification and verification on labelled portraits.

    The first picture of an identity is enrolled, the second searched; 1:1 figures are over all pairs.
    Writes report.json, det.png, scores.png, failures.csv and errors.html. Stopped in the middle, the
    same command goes on where it was.
    """
    console = Console(soft_wrap=True, markup=False, highlight=False)
    settings = load_settings()
    if pack is not None:
        settings = settings.model_copy(update={"pack": pack})
    extractor = Extractor(load_pack(find_pack(settings)))
    pictures = read_labelled(directory, by=by)
    try:
        with progress("Encoding portraits", len(pictures)) as shown:
            outcomes = encode_labelled(
                directory,
                pictures,
                extractor,
                cache_dir=out / "templates",
                threads=threads,
                advance=shown.advance,
            )
    except KeyboardInterrupt:
        console.print("Interrupted; run the same command again to go on where it stopped.")
        raise typer.Exit(130) from None
    evaluation = evaluate_outcomes(pictures, outcomes)
    manifest = extractor.pack.manifest
    name = f"{manifest.name} {manifest.version}"
    groups = {} if by is None else evaluate_groups(pictures, outcomes)
    write_report(out, evaluation, pictures, outcomes, source=directory, pack=name, groups=groups)
    _tell(console, evaluation, name)
    for group, measured in groups.items():
        if isinstance(measured, str):
            console.print(f"\n{by} {group}: {measured}")
        else:
            console.print()
            _tell(console, measured, f"{by} {group}")
    console.print(f"Report: {out / 'report.json'}; worst errors, with portraits: {out / 'errors.html'}")


def _tell(console: Console, evaluation: Evaluation, pack: str) -> None:
    console.print(f"{pack}: {evaluation.images:,} pictures of {evaluation.identities:,} identities")
    console.print(f"failure to enrol     {_words(evaluation.failure_to_enrol)}")
    console.print(f"rank 1               {_words(evaluation.rank1)}")
    for target, rate in evaluation.fnir.items():
        at = evaluation.fpir_thresholds[target]
        console.print(f"FNIR at FPIR {target:<7g} {_words(rate)}  threshold {at:.3f}")
    for target, rate in evaluation.tar.items():
        at = evaluation.far_thresholds[target]
        console.print(f"TAR at FAR {target:<9g} {_words(rate)}  threshold {at:.3f}")


def _words(rate: Rate) -> str:
    return f"{rate.value:.4f} ({rate.low:.4f} to {rate.high:.4f}, n = {rate.n:,})"
