"""`oneperson benchmark accuracy`: the whole product on labelled portraits, through its own commands and HTTP.

Two installations are made in a scratch folder with `oneperson import`, served by
`oneperson serve`, and asked over HTTP:

1. *Closed*: everybody's first picture is enrolled as a person with level code 30, at a target so
   high that practically everybody is a candidate, and everybody's second picture is checked.
   Counted: whether the mate scores highest.
2. *Open*: every other identity is left out, at the target asked for. The second pictures of those
   left out are checked, and the share that returns a candidate is set beside the interval of the
   false-positive identification rate that the service stated before.
"""

import base64
import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from index.rates import proportion
from index.types import Rate
from scripts.failures import CommandError
from scripts.installation import Installation
from scripts.progress import progress

CLOSED_TARGET = 0.999
"""Target at which practically everybody is a candidate, so that the order of the scores can be read."""

CALLERS = 2
"""Requests at once: one per processor of the machines that this is measured on."""

AUTHORITY = "530102"


@dataclass(frozen=True, slots=True)
class Identity:
    """One labelled person with the pictures that are used.

    Attributes:
        person_id: The key under which they are enrolled.
        source: The collection that the pictures are from.
        first: The enrolled picture, relative to the folder.
        second: The searched picture, None where there is only one.
    """

    person_id: str
    source: str
    first: str
    second: str | None


@dataclass(frozen=True, slots=True)
class OpenResult:
    """What checks found when half of the identities were not enrolled.

    Attributes:
        persons: Persons enrolled.
        threshold: The service's threshold.
        stated: The rate that the service stated, with its interval.
        observed: Share of the checks of persons not enrolled that returned a candidate.
        inside: Whether that share lies within the stated interval.
        mates_returned: Share of the checks of enrolled persons that returned their mate.
    """

    persons: int
    threshold: float
    stated: Rate
    observed: Rate
    inside: bool
    mates_returned: Rate


def accuracy(
    directory: Annotated[Path, typer.Argument(help="Folder with manifest.csv: path,identity[,source].")],
    pack: Annotated[str | None, typer.Option(help="Name or directory of the pack.")] = None,
    target_fpir: Annotated[float, typer.Option(help="Target of the second run.")] = 0.01,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Import labelled portraits, check second pictures over HTTP, compare with what the service states."""
    console = Console()
    identities = read_identities(directory)
    with tempfile.TemporaryDirectory(prefix="oneperson-accuracy-") as scratch:
        closed = closed_run(
            directory,
            identities,
            Installation(Path(scratch) / "closed", pack=pack, target_fpir=CLOSED_TARGET),
        )
        opened = open_run(
            directory,
            identities,
            Installation(Path(scratch) / "open", pack=pack, target_fpir=target_fpir),
        )
    _show(console, closed, opened)
    if json_file is not None:
        document = {
            "closed": {source: asdict(rate) for source, rate in closed.items()},
            "open": asdict(opened),
        }
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def read_identities(directory: Path) -> list[Identity]:
    """Read a manifest and choose each identity's first and second picture, in its order.

    Raises:
        CommandError: The manifest is missing or lacks a column.
    """
    path = directory / "manifest.csv"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise CommandError(f"{path} cannot be read ({error.strerror}); it lists path,identity") from error
    if not rows or not {"path", "identity"} <= rows[0].keys():
        raise CommandError(f"{path} needs the columns path and identity and at least one row")
    pictures: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        pictures.setdefault(row["identity"], []).append(row)
    return [
        Identity(
            person_id=f"L{number:06d}",
            source=found[0].get("source") or "all",
            first=found[0]["path"],
            second=found[1]["path"] if len(found) > 1 else None,
        )
        for number, found in enumerate(pictures.values())
    ]


def closed_run(
    directory: Path, identities: Sequence[Identity], installation: Installation
) -> dict[str, Rate]:
    """Enrol everybody's first picture and check the second ones.

    Args:
        directory: Holds the pictures.
        identities: Those with a second picture are searched, all are enrolled.
        installation: An empty one at the target `CLOSED_TARGET`.

    Returns:
        By source, how often the mate scored highest; a portrait that was refused counts as a miss.

    Raises:
        CommandError: A command or a check failed.
    """
    searched = [identity for identity in identities if identity.second is not None]
    installation.import_portraits(_rows(identities), directory)
    checks = _check(installation, directory, searched, label="Checks, everybody enrolled")
    hits = [is_mate_first(identity, check) for identity, check in zip(searched, checks, strict=True)]
    by_source = {}
    for source in dict.fromkeys(identity.source for identity in searched):
        own = [hit for identity, hit in zip(searched, hits, strict=True) if identity.source == source]
        by_source[source] = proportion(sum(own), len(own))
    return by_source


def open_run(directory: Path, identities: Sequence[Identity], installation: Installation) -> OpenResult:
    """Enrol every other identity, and check the second pictures of all.

    Args:
        directory: Holds the pictures.
        identities: The first, third … are enrolled, the others left out.
        installation: An empty one at the target asked for.

    Raises:
        CommandError: A command or a check failed, or no check of a person left out was answered.
    """
    enrolled, left_out = identities[::2], identities[1::2]
    mated = [identity for identity in enrolled if identity.second is not None]
    non_mated = [identity for identity in left_out if identity.second is not None]
    installation.import_portraits(_rows(enrolled), directory)
    checks = _check(installation, directory, [*non_mated, *mated], label="Checks, half of them enrolled")
    strangers, mates = checks[: len(non_mated)], checks[len(non_mated) :]
    answered = next((check for check in strangers if "searches" in check), None)
    if answered is None:
        raise CommandError("no portrait of a person who is not enrolled could be searched")
    stated = Rate(**answered["searches"][0]["fpir"])
    alarms = sum(bool(check["candidates"]) for check in strangers)
    returned = sum(is_mate_returned(*pair) for pair in zip(mated, mates, strict=True))
    observed = proportion(alarms, len(strangers))
    return OpenResult(
        persons=answered["gallery_size"],
        threshold=answered["threshold"],
        stated=stated,
        observed=observed,
        inside=stated.low <= observed.value <= stated.high,
        mates_returned=proportion(returned, len(mates)),
    )


def is_mate_first(identity: Identity, check: Mapping[str, Any]) -> bool:
    """Tell whether a check's best candidate is the person searched."""
    candidates = check["candidates"]
    return bool(candidates) and bool(candidates[0]["person_id"] == identity.person_id)


def is_mate_returned(identity: Identity, check: Mapping[str, Any]) -> bool:
    """Tell whether the person searched is among a check's candidates."""
    return any(candidate["person_id"] == identity.person_id for candidate in check["candidates"])


def _rows(identities: Sequence[Identity]) -> list[dict[str, str]]:
    return [
        {
            "person_id": identity.person_id,
            "division_code": AUTHORITY,
            "level_code": "30",
            "portrait": identity.first,
        }
        for identity in identities
    ]


def _check(
    installation: Installation, directory: Path, identities: Sequence[Identity], *, label: str
) -> list[dict[str, Any]]:
    """Post one check per identity with the second picture; a portrait that is refused has no candidates."""
    answers: list[dict[str, Any]] = []
    with (
        installation.serving() as (address, key),
        httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client,
        ThreadPoolExecutor(CALLERS) as pool,
        progress(label, len(identities)) as shown,
    ):
        for answer in pool.map(lambda identity: _post(client, directory, identity), identities):
            answers.append(answer)
            shown.advance()
    return answers


def _post(client: httpx.Client, directory: Path, identity: Identity) -> dict[str, Any]:
    if identity.second is None:
        raise ValueError("only identities with a second picture are checked")
    picture = base64.b64encode((directory / identity.second).read_bytes()).decode()
    answer = client.post(
        "/v1/checks",
        json={
            "transaction": {
                "id": f"accuracy-{identity.person_id}",
                "type": "household-transfer-in",
                "authority": AUTHORITY,
            },
            "portrait": picture,
        },
    )
    if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
        return {"candidates": [], "refused": answer.json()["reasons"]}
    if answer.is_error:
        raise CommandError(f"a check was answered with {answer.status_code}: {answer.text[:500]}")
    body: dict[str, Any] = answer.json()
    return body


def _show(console: Console, closed: Mapping[str, Rate], opened: OpenResult) -> None:
    table = Table("measured", "value", "95 % interval", "n", title="Labelled portraits over HTTP")
    for source, rate in closed.items():
        _add(table, f"mate scores highest, {source}", rate)
    _add(table, f"FPIR stated at threshold {opened.threshold:.4f}", opened.stated)
    _add(table, "FPIR observed on persons not enrolled", opened.observed)
    _add(table, "mates returned at that threshold", opened.mates_returned)
    console.print(table)
    place = "inside" if opened.inside else "outside"
    console.print(f"The observed rate lies {place} the stated interval; gallery of {opened.persons} persons.")


def _add(table: Table, name: str, rate: Rate) -> None:
    table.add_row(name, f"{rate.value:.4f}", f"{rate.low:.4f} to {rate.high:.4f}", str(rate.n))
