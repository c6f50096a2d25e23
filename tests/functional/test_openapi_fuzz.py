"""Every operation of the OpenAPI document, with requests that fit it and requests that do not.

The ordinary run sends some hundred requests. For the long one:

    OPENAPI_FUZZ_EXAMPLES=400 pytest -n 0 -s tests/functional/test_openapi_fuzz.py

Nothing may be answered with 5xx, with a status, a header, a type or a body that the document does not
describe, without a key, or as if a wrong request were right; after a deletion nothing may be left.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from scripts.installation import Installation
from service.audit.chain import sealed_database
from service.auth.accounts import issue_officer_key, register_client, register_officer
from service.auth.service import Role, Scope
from service.settings import Settings
from tests.functional.callers import AUTHORITY, calling
from tests.synthetic import synthetic_portrait

pytestmark = pytest.mark.enable_socket

EXAMPLES = int(os.environ.get("OPENAPI_FUZZ_EXAMPLES", "0"))
"""Random requests for each operation; 0: the short run, the same on every machine."""

UNLIMITED = {f"ONEPERSON_{who}_REQUESTS_PER_S": "100000" for who in ("CLIENT", "OFFICER", "ADDRESS")}
"""One caller asks faster here than any would be let; `test_rate_limits.py` tests that."""

ACCEPTED = ["2xx", "400", "401", "403", "404", "405", "409", "413", "422"]
"""Answers to requests that fit the document: what a portrait shows, whether a check character fits and
whether a case is still open cannot be said in a schema, and are answered with 409 or 422."""


NAMED_IN_EXAMPLES = "P530102-000123"
"""The registration in the document's examples, so that requests made of them get as far as a search."""

UNDERSTOOD = {"include-name": "POST /v1/cases/next", "checks": {"unsupported_method": {"enabled": False}}}
"""`GET /v1/cases/next` is `GET /v1/cases/{case_id}` with an id that is none, and answered like that."""


@dataclass(frozen=True, slots=True)
class Site:
    """A service with something in it.

    Attributes:
        address: Where it listens.
        client_key: Of a client with every scope.
        officer_key: Of a supervisor of the whole province.
        log: What the service wrote.
    """

    address: str
    client_key: str
    officer_key: str
    log: Path


@dataclass(slots=True)
class Outcome:
    """What a run found.

    Attributes:
        requests: Number of requests by operation.
        statuses: Number of answers by status.
        answers: Number of answers by operation and status.
        findings: One line for each distinct failure, and errors of the tool.
    """

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, synthetic_pack_dir: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("fuzzed")
    installation = Installation(folder, pack=str(synthetic_pack_dir), settings=UNLIMITED)
    service = installation.start()
    database = sealed_database(Settings(data_dir=installation.data_dir))
    with database.write() as session:
        client_key = register_client(session, "population-system", scopes=frozenset(Scope), days=None)
        register_officer(session, "boss", name="Boss", role=Role.SUPERVISOR, division_code="530000", hours=1)
        officer_key = issue_officer_key(session, "boss", days=None)
    database.close()
    with calling(service.address, client_key) as system:
        for number, person_id in enumerate((NAMED_IN_EXAMPLES, "P1", "P2")):
            system.put_person(person_id, synthetic_portrait(number), division_code=AUTHORITY)
            system.check(f"T{number}", synthetic_portrait(number, 1))
    yield Site(service.address, client_key, officer_key, service.log)
    service.stop()


def run(site: Site, *, with_keys: bool) -> Outcome:
    """Send requests to every operation and collect what is wrong with the answers."""
    schema = schemathesis.openapi.from_url(f"{site.address}/openapi.json", config=config(with_keys=with_keys))
    schema.config.update(base_url=site.address)

    if with_keys:

        @schema.auth(refresh_interval=None)
        class Keys:
            """The officers' key for cases, the client's for all else."""

            def get(self, case: Any, context: Any) -> str:
                return site.officer_key if "/v1/cases" in context.operation.path else site.client_key

            def set(self, case: Any, data: str, context: Any) -> None:
                case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}

    outcome = Outcome()
    for event in from_schema(schema).execute():
        note(outcome, event)
    return outcome


def config(*, with_keys: bool) -> SchemathesisConfig:
    """All checks, all phases; whoever has no key must be refused everything."""
    accepted = ACCEPTED if with_keys else [*ACCEPTED, "401"]
    generation: dict[str, Any] = {
        "max-examples": EXAMPLES or 3,
        "deterministic": EXAMPLES == 0,
        "database": "none",
    }
    return SchemathesisConfig.from_dict(
        {
            **({} if EXAMPLES else {"seed": 20260101}),
            "suppress-health-check": ["all"],
            "workers": 1,
            "continue-on-failure": True,
            "generation": generation,
            "checks": {"positive_data_acceptance": {"expected-statuses": accepted}},
            "operations": [UNDERSTOOD],
            "phases": {"stateful": {"max-steps": 4}, "coverage": {"enabled": with_keys or EXAMPLES > 0}},
        }
    )


def note(outcome: Outcome, event: events.EngineEvent) -> None:
    """Count what was sent, and keep each failure once."""
    if isinstance(event, events.NonFatalError | events.FatalError):
        outcome.findings[f"error: {event}"] = ""
    if not isinstance(event, events.ScenarioFinished):
        return
    for case_id, interaction in event.recorder.interactions.items():
        case = event.recorder.cases[case_id].value
        outcome.requests[case.operation.label] += 1
        if interaction.response is not None:
            outcome.statuses[interaction.response.status_code] += 1
            outcome.answers[f"{case.operation.label} {interaction.response.status_code}"] += 1
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                case = event.recorder.cases[case_id].value
                failure = check.failure_info.failure
                outcome.findings.setdefault(
                    f"{case.operation.label}: {check.name}: {failure.title}: {failure.message[:300]}",
                    check.failure_info.code_sample[:600],
                )


def reported(name: str, outcome: Outcome) -> str:
    counted = f"{name}: {outcome.requests.total()} requests to {len(outcome.requests)} operations"
    lines = [counted, f"  answers: {dict(sorted(outcome.statuses.items()))}"]
    lines += [f"  {count:6} {answer}" for answer, count in sorted(outcome.answers.items())]
    lines += [f"  {finding}\n      {sample}" for finding, sample in outcome.findings.items()]
    return "\n".join(lines)


@pytest.mark.parametrize("with_keys", [True, False], ids=["with-keys", "without-keys"])
def test_whatever_is_sent_is_answered_as_documented(site: Site, with_keys: bool) -> None:
    outcome = run(site, with_keys=with_keys)
    text = reported("with keys" if with_keys else "without keys", outcome)
    if EXAMPLES:
        print(text, file=sys.stderr)
    assert len(outcome.requests) >= 25
    done = {
        answer.rsplit(maxsplit=1)[0] for answer in outcome.answers if answer.rsplit(maxsplit=1)[1][0] == "2"
    }
    assert len(done) >= (18 if with_keys else 3), f"hardly anything was let in: {sorted(done)}"
    assert not any(status >= 500 for status in outcome.statuses)
    assert not outcome.findings, text


def test_the_log_of_it_has_no_failed_request(site: Site) -> None:
    written = site.log.read_text(encoding="utf-8")
    assert "request-failed" not in written
    assert "Traceback" not in written
