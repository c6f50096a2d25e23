"""`oneperson demo`: a fresh invented registry, one household transfer checked, and the pages up."""

import base64
import signal
import threading
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.rule import Rule

from scripts.demo_output import (
    candidate_words,
    candidates_table,
    instruction_words,
    pictures_words,
    registry_table,
    request_panel,
    sign_in_words,
    threshold_words,
)
from scripts.demo_pack import demo_pack
from scripts.demo_registry import DemoRegistry, Registration, build_registry
from scripts.demo_service import (
    AUTHORITY,
    HOST,
    PopulationSystem,
    bound,
    demo_service,
    demo_settings,
    emptied_folder,
)
from service.logs import configure_logging
from service.settings import load_settings

TRANSFER, LATE_REGISTRATION = "household-transfer-in", "late-registration"


def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit after the checks, without waiting.")] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; default: 8000, or a free one if it is taken.")
    ] = None,
) -> None:
    """Enrol a small invented registry, check two transactions over HTTP, and keep the pages up.

    Everything happens in a folder of its own, `demo` under the data folder, made afresh every
    time. The photographs are real ones that ship inside installed packages; the registrations are
    invented and the second photographs are simulated, and the output says so.
    """
    began = time.monotonic()
    console = Console(highlight=False)
    configure_logging("warning", "text")
    installed = load_settings()
    listener = bound(port)
    address = f"http://{HOST}:{listener.getsockname()[1]}"
    with listener, emptied_folder(installed.data_dir / "demo") as directory:
        pack = demo_pack(installed, directory / "packs")
        settings = demo_settings(directory, pack=str(pack), address=address, threads=installed.threads)
        with demo_service(settings, listener) as (app, keys):
            engine = app.state.engine
            registry = build_registry(engine.pack.detector.detect)
            console.print(Rule("OnePerson demo"))
            console.print(pictures_words(registry), soft_wrap=True)
            population = PopulationSystem(address, keys.client)
            try:
                _tell_the_story(console, population, registry)
            finally:
                population.close()
            console.print(Rule("Go on in the browser"))
            console.print(sign_in_words(address, keys), soft_wrap=True)
            console.print(f"Done in {time.monotonic() - began:.1f} s with the pack '{engine.pack.name}'.")
            if not once:
                _wait(console, address)
    console.print("Stopped; without --once the pages stay up." if once else "Stopped.")


def _tell_the_story(console: Console, population: PopulationSystem, registry: DemoRegistry) -> None:
    """Enrol, check the person who is registered twice, and check a stranger."""
    began = time.monotonic()
    answers = [_enrol(population, registration) for registration in registry.registrations]
    took = time.monotonic() - began
    console.print(registry_table(registry.registrations, answers, took))
    subject = registry.subject
    console.print(Rule("A household transfer"))
    console.print(
        f"{subject.name} ({subject.person_id}) asks for a household transfer to {AUTHORITY}. "
        "The counter takes a photograph, and the population system asks:"
    )
    request = {
        "transaction": {"id": "DEMO-TRANSFER-1", "type": TRANSFER, "authority": AUTHORITY},
        "person_id": subject.person_id,
        "portrait": _text(registry.probe),
    }
    _check(console, population, request, registry.registrations)
    console.print(Rule("Somebody who is not in the gallery"))
    request = {
        "transaction": {"id": "DEMO-LATE-1", "type": LATE_REGISTRATION, "authority": AUTHORITY},
        "portrait": _text(registry.stranger),
    }
    _check(console, population, request, registry.registrations)


def _enrol(population: PopulationSystem, registration: Registration) -> dict[str, Any]:
    portraits = [
        {"image": _text(portrait.image), "taken_on": portrait.taken_on.isoformat()}
        for portrait in registration.portraits
    ]
    return population.put_person(registration.person_id, {**registration.fields, "portraits": portraits})


def _check(
    console: Console,
    population: PopulationSystem,
    request: dict[str, Any],
    registrations: Sequence[Registration],
) -> None:
    console.print(request_panel(request))
    began = time.monotonic()
    answer = population.post_check(request)
    took_ms = (time.monotonic() - began) * 1000
    console.print(f"Answered in {took_ms:.0f} ms: [bold]{answer['outcome']}[/]")
    if answer["candidates"]:
        console.print(candidates_table(answer, registrations))
        console.print(candidate_words(answer))
    console.print(threshold_words(answer))
    console.print(instruction_words(answer), soft_wrap=True)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _wait(console: Console, address: str) -> None:
    """Stay up until Ctrl-C or SIGTERM."""
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    console.print(f"Serving at {address} until Ctrl-C.")
    stop.wait()
