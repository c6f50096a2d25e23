"""Long runs against one service process, started by hand; they write one line of JSON per measurement.

    python -m tests.functional.endurance long --checks 200000 --folder DIR
    python -m tests.functional.endurance overload --minutes 10 --folder DIR

The first makes so many checks and measures at every tenth of them what the process holds. The second finds
how many checks a second are answered, then offers three times as many, and measures the same meanwhile.
Both use the synthetic pack of `tests.synthetic`, so that the time goes into the service and not into a model.
"""

import argparse
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from scripts.installation import Installation, Serving
from tests.functional.callers import calling
from tests.functional.loading import (
    Answers,
    Client,
    Held,
    callers,
    check_body,
    held_by,
    sqlite_connections,
)
from tests.synthetic import make_synthetic_pack, synthetic_portrait

ENROLLED = 40
"""Persons in the gallery: searching is measured elsewhere."""

STRANGERS = 40
"""Different portraits of persons who are not enrolled."""

OPENS_CASE = 200
"""Every so many checks one shows an enrolled person, so that a case is opened and a probe kept."""

WITH_PORTRAIT = 4
"""Every so many checks of a long run one brings a portrait; the others search with the one on file."""

SIZE = (180, 220)
"""Pixels of the portraits: small, because what is tried is the service."""

CAPACITY_CALLERS = 8
CAPACITY_S = 30.0
"""Callers who ask one check after another, and how long, to find how many are answered."""

OFFERED = 3.0
"""Times the capacity."""

OVERLOAD_CALLERS = 300
"""Many more than may wait in the engine's queue: whoever waits for an answer asks nothing meanwhile."""

LOOK_S = 20.0
"""Seconds between looks at what the service holds and how many it answers."""

WARM_S = 60.0
"""Seconds of overload before memory has to be flat."""

RECOVERY_S = 5.0
"""Seconds after the load's end within which checks must be answered as usual."""


@dataclass
class Probes:
    """Bodies of checks, and numbers of transactions that were never used."""

    strangers: list[bytes]
    enrolled: list[bytes]
    on_file: list[bytes]
    numbers: "count[int]"

    def next(self) -> tuple[bytes, str]:
        """Return a body with a portrait, and a transaction's id."""
        number = next(self.numbers)
        of = self.enrolled if number % OPENS_CASE == 0 else self.strangers
        return of[number % len(of)], f"T{number:012d}"

    def cheap(self) -> tuple[bytes, str]:
        """Return a body, mostly without a portrait, and a transaction's id."""
        body, transaction_id = self.next()
        number = int(transaction_id[1:])
        return body if number % WITH_PORTRAIT == 0 else self.on_file[number % ENROLLED], transaction_id


@contextmanager
def service(folder: Path, settings: dict[str, str]) -> Iterator[tuple[Serving, list[str], Probes]]:
    """A fresh installation with a small gallery, served by one process."""
    shutil.rmtree(folder, ignore_errors=True)
    pack = make_synthetic_pack(folder / "pack")
    installation = Installation(folder, pack=str(pack), settings=settings)
    keys = [installation.add_client("persons", "checks") for _ in range(2)]
    serving = installation.start()
    try:
        with calling(serving.address, keys[0]) as caller:
            for person in range(ENROLLED):
                caller.put_person(f"P{person}", synthetic_portrait(person, size=SIZE))
        probes = Probes(
            [check_body(synthetic_portrait(10_000 + n, size=SIZE)) for n in range(STRANGERS)],
            [check_body(synthetic_portrait(n, 1, size=SIZE)) for n in range(STRANGERS)],
            [check_body(person_id=f"P{n}") for n in range(ENROLLED)],
            count(1),
        )
        yield serving, keys, probes
    finally:
        serving.stop()


def tell(out: Path, **facts: object) -> None:
    """Append a line to the report and show it."""
    line = json.dumps(facts)
    with out.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, flush=True)


def measured(serving: Serving) -> Held:
    """What the service holds now."""
    return held_by(serving.process.pid, sqlite_connections)


def rounded(held: Held) -> dict[str, float]:
    """The figures as they are told."""
    return {name: round(value, 1) for name, value in asdict(held).items()}


def run_long(arguments: argparse.Namespace) -> int:
    """Make many checks; return 1 if any was answered otherwise than by 201."""
    wanted, step = arguments.checks, max(1, arguments.checks // 10)
    settings = {"ONEPERSON_CLIENT_REQUESTS_PER_S": "100000"}
    with service(arguments.folder, settings) as (serving, keys, probes):
        answers, lock, made = Answers(), threading.Lock(), [0]
        out = arguments.folder / "long.jsonl"
        began = time.monotonic()

        def work(_number: int, client: Client) -> None:
            while True:
                with lock:
                    if made[0] >= wanted:
                        return
                    made[0] += 1
                    at, (body, transaction_id) = made[0], probes.cheap()
                client.check(body, transaction_id, answers)
                if at % step == 0 or at == 1:
                    answers.seconds.clear()
                    seconds = round(time.monotonic() - began)
                    tell(out, checks=at, seconds=seconds, **rounded(measured(serving)))

        with callers(serving.address, keys, arguments.callers, work):
            pass
        tell(out, statuses=answers.statuses, strange=answers.strange)
    return int(set(answers.statuses) != {201})


def capacity(serving: Serving, keys: list[str], probes: Probes) -> float:
    """Return how many checks a second a few callers who wait for each answer get."""
    answers, lock, until = Answers(), threading.Lock(), time.monotonic() + CAPACITY_S

    def work(_number: int, client: Client) -> None:
        while time.monotonic() < until:
            with lock:
                body, transaction_id = probes.next()
            client.check(body, transaction_id, answers)

    with callers(serving.address, keys, CAPACITY_CALLERS, work):
        pass
    return answers.statuses.get(201, 0) / CAPACITY_S


def run_overload(arguments: argparse.Namespace) -> int:
    """Offer three times what can be answered; return 1 if a promise was not kept."""
    with service(arguments.folder, {}) as (serving, keys, probes):
        out = arguments.folder / "overload.jsonl"
        found = capacity(serving, keys, probes)
        tell(out, capacity_per_s=round(found, 1), **rounded(measured(serving)))
        answers, memory = offered(arguments, serving, keys, probes, found)
        recovered = recovery_s(serving, keys[0], probes)
        held = measured(serving)
        facts = {
            "offered_per_s": round(answers.total / (arguments.minutes * 60), 1),
            "statuses": answers.statuses,
            "without_retry_after": answers.unannounced,
            "strange": answers.strange,
            "p50_s": round(answers.percentile(0.5), 3),
            "p99_s": round(answers.percentile(0.99), 3),
            "slowest_s": round(answers.percentile(1.0), 3),
            "memory_mb_after_warm_up": [round(min(memory), 1), round(max(memory), 1)],
            "recovered_after_s": round(recovered, 2),
        }
        tell(out, **facts, **rounded(held))
    middle = (max(memory) + min(memory)) / 2
    kept = (
        set(answers.statuses) <= {201, 429, 503}
        and not answers.unannounced
        and max(memory) - middle <= 0.05 * middle
        and recovered <= RECOVERY_S
    )
    return int(not kept)


def offered(
    arguments: argparse.Namespace, serving: Serving, keys: list[str], probes: Probes, found: float
) -> tuple[Answers, list[float]]:
    """Offer the load; return the answers, and the memory at each look after the warm-up.

    A machine that others use gets faster and slower: what is offered follows what is answered.
    """
    answers, lock, memory = Answers(), threading.Lock(), []
    began, rate = time.monotonic(), [OFFERED * found]
    until = began + arguments.minutes * 60

    def work(number: int, client: Client) -> None:
        due = began + number / rate[0]
        while due < until:
            time.sleep(max(0.0, due - time.monotonic()))
            with lock:
                body, transaction_id = probes.next()
            client.check(body, transaction_id, answers)
            due = max(due, time.monotonic() - OVERLOAD_CALLERS / rate[0]) + OVERLOAD_CALLERS / rate[0]

    with callers(serving.address, keys, OVERLOAD_CALLERS, work) as threads:
        looked, known = began, 0
        while any(thread.is_alive() for thread in threads):
            time.sleep(LOOK_S)
            held, at, made = measured(serving), time.monotonic(), answers.statuses.get(201, 0)
            rate[0] = OFFERED * max(found, (made - known) / (at - looked))
            looked, known, seconds = at, made, at - began
            if WARM_S <= seconds <= arguments.minutes * 60:
                memory.append(held.resident_mb)
            facts = {"offered_per_s": round(rate[0], 1), "statuses": dict(answers.statuses)}
            tell(arguments.folder / "overload.jsonl", seconds=round(seconds), **facts, **rounded(held))
    return answers, memory


def recovery_s(serving: Serving, key: str, probes: Probes) -> float:
    """Return the seconds until the first of ten checks in a row that are answered."""
    client, answers, began, row = Client(serving.address, key), Answers(), time.monotonic(), 0
    first = began
    while row < 10 and time.monotonic() - began < 60:
        row = row + 1 if client.check(*probes.next(), answers) == 201 else 0
        first = time.monotonic() if row <= 1 else first
    client.close()
    return first - began if row == 10 else float("inf")


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    runs = parser.add_subparsers(required=True)
    long = runs.add_parser("long")
    long.add_argument("--checks", type=int, default=200_000)
    long.add_argument("--callers", type=int, default=4)
    long.set_defaults(run=run_long)
    overload = runs.add_parser("overload")
    overload.add_argument("--minutes", type=float, default=10.0)
    overload.set_defaults(run=run_overload)
    for each in (long, overload):
        each.add_argument("--folder", type=Path, required=True, help="Emptied first.")
    arguments = parser.parse_args()
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
