"""What the demo prints; everything fits a terminal of 80 columns."""

import json
from collections.abc import Sequence
from typing import Any

from rich.json import JSON
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from scripts.demo_registry import DemoRegistry, Registration
from scripts.demo_service import FIRST_OFFICER, SECOND_OFFICER, Keys

SHOWN_CHARACTERS = 24
"""Of a portrait's base64."""

RAREST_SAID = 1e-6
"""Smaller false-alarm rates are said as this bound: no sample of searches supports more, see the pages."""


def pictures_words(registry: DemoRegistry) -> Text:
    """Say where the pictures come from and what about them is not real."""
    text = Text.assemble(
        ("Photographs: ", "bold"),
        "real, shipped inside installed packages, cut to ID-card portraits:\n",
        *(f"    {source}\n" for source in registry.sources),
        ("Invented: ", "bold"),
        "all names, numbers, dates and divisions; they are nobody's.\n",
        ("Simulated: ", "bold"),
        "a second photograph is the first with another framing, light, colour,\n"
        "    sharpness, noise and compression. Photographs taken years apart score lower.",
    )
    for sentence in registry.missing:
        text.append(f"\nMissing: {sentence}.", style="yellow")
    return text


def registry_table(
    registrations: Sequence[Registration], answers: Sequence[dict[str, Any]], took_s: float
) -> Table:
    """List the registrations and what became of their enrolment."""
    table = _table(
        *("person_id", "name", "who", "code", "photos", "enrolment", "marks"),
        title=f"{len(registrations)} registrations stored over HTTP in {took_s:.1f} s",
        caption="code 30: identity in doubt, so enrolled     *: one of the photos is simulated",
    )
    for registration, answer in zip(registrations, answers, strict=True):
        marks = sorted({mark for portrait in answer["portraits"] for mark in portrait["marks"]})
        simulated = any(portrait.simulated for portrait in registration.portraits)
        table.add_row(
            registration.person_id,
            registration.name,
            registration.label,
            registration.fields["level_code"],
            f"{len(registration.portraits)}{'*' if simulated else ''}",
            answer["enrolment"]["status"],
            ", ".join(marks),
        )
    return table


def request_panel(request: dict[str, Any]) -> Panel:
    """Show a request as it is sent, its portrait abbreviated."""
    portrait = request["portrait"]
    shown = request | {"portrait": f"{portrait[:SHOWN_CHARACTERS]}… ({len(portrait):,} characters)"}
    return Panel(JSON(json.dumps(shown, ensure_ascii=False), ensure_ascii=False), title="POST /v1/checks")


def candidates_table(answer: dict[str, Any], registrations: Sequence[Registration]) -> Table:
    """List the candidates with their scores and false-alarm rates."""
    known = {registration.person_id: registration for registration in registrations}
    table = _table(
        *("rank", "person_id", "name", "who", "score", "false-alarm rate"),
        title="Candidates: suspected to be the same person, for officers to examine",
    )
    for candidate in answer["candidates"]:
        registration = known[candidate["person_id"]]
        table.add_row(
            str(candidate["rank"]),
            candidate["person_id"],
            registration.name,
            registration.label,
            f"{candidate['score']:.3f}",
            one_of(candidate["false_alarm_rate"]),
        )
    return table


def candidate_words(answer: dict[str, Any]) -> str:
    """Say what the first candidate's false-alarm rate means."""
    best = answer["candidates"][0]
    beyond = " (estimated: no two different persons that were measured score this high)"
    return (
        f"In this gallery {one_of(best['false_alarm_rate'])} searches by someone who is not in it returns "
        f"a candidate scoring {best['score']:.3f} or more{beyond if best['extrapolated'] else ''}."
    )


def threshold_words(answer: dict[str, Any]) -> str:
    """Say what was searched, and what the threshold means there."""
    return "\n".join(
        f"Searched the gallery '{search['gallery']}': {search['gallery_size']} persons, "
        f"{search['references']} portraits. At the threshold of {search['threshold']:.3f} "
        f"{one_of(search['fpir']['value'])} searches by someone who is not in it returns a candidate"
        + (
            "; the gallery is too small to be measured, so this comes from the pack's table."
            if search["calibration_method"] == "pack"
            else ", as measured on the gallery itself."
        )
        for search in answer["searches"]
    )


def instruction_words(answer: dict[str, Any]) -> Text:
    """Say what the population system is told to do."""
    if answer["instruction"] == "proceed":
        return Text.assemble(
            ("Instruction: proceed. ", "bold green"), "Nobody in the gallery is a candidate."
        )
    return Text.assemble(
        ("Instruction: hold. ", "bold red"),
        "Suspected only: it waits until two officers have decided.\n",
        ("Review page: ", "bold"),
        str(answer["review_url"]),
    )


def sign_in_words(address: str, keys: Keys) -> Text:
    """Tell how to sign in; passwords and key are random and of no use after this run."""
    return Text(
        f"Pages {address}/   API {address}/docs\n"
        "Passwords and key are made for this run only.\n"
        f"{'login':<12} password\n"
        f"{FIRST_OFFICER:<12} {keys.first}\n"
        f"{SECOND_OFFICER:<12} {keys.second}\n"
        f"{'API key':<12} {keys.client}"
    )


def one_of(rate: float) -> str:
    """Say a rate as `about 1 of 250`; larger than a half as `about 93 of 100`."""
    if rate > 0.5:
        return f"about {100 * rate:.0f} of 100"
    if rate < RAREST_SAID:
        return "fewer than 1 of 1,000,000"
    exact = 1 / rate
    step = 10 ** max(0, len(str(int(exact))) - 2)
    return f"about 1 of {round(exact / step) * step:,}"


def _table(*columns: str, title: str, caption: str | None = None) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
