"""`oneperson calibrate`: measure the false-alarm rate on the installed galleries, and report it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from index.calibration import DEFAULT_SAMPLE, MIN_PERSONS, Calibration
from index.non_mated import search_among_others
from index.pack import Pack, load_pack
from index.rows import Rows
from index.subgroups import SubgroupRate, subgroup_rates
from scripts.failures import CommandError
from scripts.storage import prepared_database
from service.codes import Codes, load_codes
from service.database import Database
from service.engine import find_pack
from service.galleries.calibrations import Calibrations
from service.galleries.keeper import Keeper, from_database, from_generation, gallery_place
from service.galleries.switches import settings_in_force
from service.persons.enrolment import FLAGGED, REGISTERED
from service.settings import load_settings
from service.tables import Person

AGE_BANDS = (0, 7, 13, 18, 31, 46, 61)
"""First years of the age bands reported: pre-school, primary, secondary school, then by fifteen years."""


def calibrate(
    target_fpir: Annotated[
        float | None,
        typer.Option(min=1e-6, max=0.5, help="Target for this run; default: the one in the settings."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for calibration.json and a picture per gallery.")
    ] = None,
) -> None:
    """Measure how often somebody who is not in a gallery raises a candidate, and set the threshold by it.

    The record is dated and stored; running services take it up at their next restart or when the
    gallery has grown by a tenth. A target that differs from the settings is reported, not stored.
    """
    settings = load_settings()
    stored = target_fpir is None or target_fpir == settings.target_fpir
    chosen = settings if target_fpir is None else settings.model_copy(update={"target_fpir": target_fpir})
    codes = load_codes(settings.codes_file)
    console = Console()
    found = {}
    with prepared_database(settings) as database:
        pack = load_pack(find_pack(settings_in_force(database, settings)))
        calibrations = Calibrations(database=database, settings=chosen, pack=pack)
        for name in (FLAGGED, REGISTERED):
            place = gallery_place(settings, name, contract_id=pack.contract_id, dimension=pack.dimension)
            with database.read() as session:
                keeper = from_generation(session, place, "faiss") or from_database(session, place, "faiss")
            _require_complete(keeper)
            if keeper.gallery.person_count == 0:
                continue
            calibration = _measured(calibrations, keeper, stored=stored)
            groups = _subgroups(database, keeper.gallery.rows(), calibration, codes)
            found[name] = (calibration, groups)
            _show(console, calibration, groups)
    if not found:
        console.print("The galleries are empty; there is nothing to calibrate.")
    if report is not None:
        _write(report, found, pack)
        console.print(f"Report: {report}")


def _measured(calibrations: Calibrations, keeper: Keeper, *, stored: bool) -> Calibration:
    name, gallery = keeper.place.name, keeper.gallery
    return calibrations.renew(name, gallery).calibration if stored else calibrations.measure(name, gallery)


def _require_complete(keeper: Keeper) -> None:
    if keeper.unencoded:
        raise CommandError(
            f"{len(keeper.unencoded)} portraits of the gallery '{keeper.place.name}' have no template of "
            "this pack; run 'oneperson rebuild' first"
        )


def _subgroups(
    database: Database, references: Rows, calibration: Calibration, codes: Codes
) -> list[SubgroupRate]:
    if calibration.persons < MIN_PERSONS:
        return []
    searches = search_among_others(references, sample=DEFAULT_SAMPLE, seed=0)
    wanted = {*searches.persons.tolist(), *searches.nearest.tolist()}
    return subgroup_rates(searches, _groups(database, wanted, codes), threshold=calibration.threshold)


def _groups(database: Database, keys: set[int], codes: Codes) -> dict[str, dict[int, str]]:
    """Return sex, age band and ethnicity of persons, as far as their registrations tell."""
    groups: dict[str, dict[int, str]] = {"sex": {}, "age": {}, "ethnicity": {}}
    query = select(Person.key, Person.sex, Person.birth_date, Person.ethnicity)
    with database.read() as session:
        for key, sex, birth_date, ethnicity in session.execute(query.execution_options(yield_per=5000)):
            if key not in keys:
                continue
            if sex in ("1", "2"):
                groups["sex"][key] = codes.sexes[sex].en
            if birth_date is not None:
                groups["age"][key] = age_band(birth_date, date.today())  # noqa: DTZ011 - a civil age
            if ethnicity is not None:
                term = codes.ethnicities.get(ethnicity)
                groups["ethnicity"][key] = f"{ethnicity} {term.en}" if term else ethnicity
    return groups


def age_band(birth_date: date, today: date) -> str:
    """Return the band of a person's age, such as `18-30`."""
    had_birthday = (today.month, today.day) >= (birth_date.month, birth_date.day)
    age = max(0, today.year - birth_date.year - (not had_birthday))
    first = max(start for start in AGE_BANDS if start <= age)
    following = [start for start in AGE_BANDS if start > first]
    return f"{first:02d}-{following[0] - 1:02d}" if following else f"{first:02d}+"


def _show(console: Console, calibration: Calibration, groups: Sequence[SubgroupRate]) -> None:
    origin = "measured on this gallery" if calibration.method == "measured" else "from the pack's table"
    console.print(
        f"{calibration.gallery}: {calibration.persons} persons, threshold {calibration.threshold:.4f}, "
        f"{origin}; FPIR {calibration.fpir.value:.4g}, 95 % interval {calibration.fpir.low:.3g} to "
        f"{calibration.fpir.high:.3g}, {calibration.sample} searches"
    )
    if calibration.outlying:
        console.print(
            f"{calibration.outlying} searches score higher than the rest explains: undetected duplicates, "
            "twins or siblings; 'oneperson link' lists them."
        )
    if not groups:
        return
    table = Table(
        "subgroup", "false-alarm rate", "95 % interval", "searches", "false candidates of the same group"
    )
    for group in groups:
        same = "" if group.same_group is None else f"{group.same_group:.0%}"
        table.add_row(
            f"{group.attribute} {group.group}",
            f"{group.fpir.value:.4f}",
            f"{group.fpir.low:.4f} to {group.fpir.high:.4f}",
            str(group.fpir.n),
            same,
        )
    console.print(table)


def _write(folder: Path, found: Mapping[str, tuple[Calibration, Sequence[SubgroupRate]]], pack: Pack) -> None:
    from index.calibration_plot import draw_calibration  # noqa: PLC0415 - matplotlib only where it draws

    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "pack": {"name": pack.name, "contract_id": pack.contract_id},
        "galleries": {
            name: calibration.as_document() | {"subgroups": [asdict(group) for group in groups]}
            for name, (calibration, groups) in found.items()
        },
    }
    (folder / "calibration.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for name, (calibration, groups) in found.items():
        draw_calibration(calibration, groups, folder / f"{name}.png")
