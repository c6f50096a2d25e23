"""The documents say what the code does: links, commands, examples, settings of the project."""

import importlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import typer
from pydantic import BaseModel

from scripts.cli import COMMANDS
from service.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").glob("*.md")])
SOURCES = ("index", "service", "scripts", "tests")
MOST_LINES = {"tests": 600}
"""Longest module by top folder; 400 elsewhere."""

LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"\boneperson ([a-z]+(?: [a-z]+(?:-[a-z]+)*)?)")
EXAMPLE = re.compile(r"<!-- example: (\S+)\.(\w+) -->\n```json\n(.*?)```", re.DOTALL)
SETTING = re.compile(r"\bONEPERSON_[A-Z_]*[A-Z]\b")
PATH_NAMED = re.compile(r"`((?:index|service|scripts|tests|docs|models)/[\w./-]+)`")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(document: Path) -> set[str]:
    """Anchors of a document's headings, made as code hosts make them."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#{1,6} (.+)$", text, flags=re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"`|\[|\]\([^)]*\)", "", title)).strip().lower().replace(" ", "-")
        for title in headings
    }


def local_links(document: Path) -> Iterator[str]:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target) is None:
            yield target


def commands() -> dict[str, set[str]]:
    """Every command of the console command, and the subcommands of those that are groups."""
    found: dict[str, set[str]] = {}
    for entry in COMMANDS:
        loaded = entry.load()
        group = loaded.registered_commands if isinstance(loaded, typer.Typer) else []
        found[entry.name] = {
            str(command.name or getattr(command.callback, "__name__", "")) for command in group
        }
    return found


def settings() -> set[str]:
    return {PREFIX + name.upper() for name in Settings.model_fields}


def test_documents_are_found() -> None:
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/architecture.md"} <= {
        name_of(path) for path in DOCUMENTS
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for link in local_links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_files_that_are_named_exist(document: Path) -> None:
    named = PATH_NAMED.findall(document.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_that_are_named_exist(document: Path) -> None:
    known, unknown = commands(), []
    text = document.read_text(encoding="utf-8")
    for span in (
        *re.findall(r"`([^`\n]+)`", text),
        *re.findall(r"^(?:    |\$ |).*oneperson .*$", text, re.M),
    ):
        for found in COMMAND.findall(span):
            first, _, second = found.partition(" ")
            if first not in known or (known[first] and second and second not in known[first]):
                unknown.append(found)
    assert unknown == []


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "compose.env.example", ".env.example"])
def test_settings_of_the_examples_exist(name: str) -> None:
    assert set(SETTING.findall((ROOT / name).read_text(encoding="utf-8"))) <= settings()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_settings_that_are_named_exist(document: Path) -> None:
    assert set(SETTING.findall(document.read_text(encoding="utf-8"))) <= settings()


def test_figures_that_operators_shall_watch_exist() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`oneperson_(\w+?)(?:_total)?(?:\{\w+\})?`", guide))
    source = (ROOT / "service" / "metrics.py").read_text(encoding="utf-8")
    known = set(re.findall(r'"oneperson_(\w+)"', source))
    known |= {f"gallery_{name}" for name in re.findall(r'^ +\("(\w+)", "', source, flags=re.MULTILINE)}
    assert named
    assert named <= known


def examples() -> list[tuple[str, str, str]]:
    text = (ROOT / "docs" / "integration.md").read_text(encoding="utf-8")
    return EXAMPLE.findall(text)


@pytest.mark.parametrize(("module", "model", "document"), examples(), ids=lambda value: value[:40])
def test_examples_of_the_integration_guide_have_the_shape_of_the_api(
    module: str, model: str, document: str
) -> None:
    shape: type[BaseModel] = getattr(importlib.import_module(module), model)
    given = json.loads(document)
    read = shape.model_validate_json(document)
    assert set(given) <= set(read.model_dump())


def test_the_integration_guide_has_examples() -> None:
    assert len(examples()) >= 5


def test_every_problem_code_status_and_instruction_is_in_the_integration_guide_or_the_list() -> None:
    from service.checks.schemas import Instruction, Outcome, Status
    from service.notices.service import NoticeKind
    from service.persons.schemas import EnrolmentStatus

    guide = (ROOT / "docs" / "integration.md").read_text(encoding="utf-8")
    words = [
        *NoticeKind,
        *(word for words in (Instruction, Outcome, Status, EnrolmentStatus) for word in get_args(words)),
    ]
    assert [word for word in words if f"`{word}`" not in guide] == []


def test_reasons_for_refusing_a_portrait_are_in_the_integration_guide() -> None:
    from index.portrait import PortraitReason
    from index.quality import QualityReason

    guide = (ROOT / "docs" / "integration.md").read_text(encoding="utf-8")
    assert [reason for reason in (*PortraitReason, *QualityReason) if f"`{reason}`" not in guide] == []


def test_delivered_transaction_kinds_are_in_the_integration_guide() -> None:
    from service.codes import load_codes

    guide = (ROOT / "docs" / "integration.md").read_text(encoding="utf-8")
    assert [kind for kind in load_codes().transaction_types if f"`{kind}`" not in guide] == []


def test_states_and_conclusions_are_in_the_glossary() -> None:
    from service.review.opinion import CaseState, ConclusionKind

    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert [word for word in (*CaseState, *ConclusionKind) if f"`{word}`" not in glossary] == []


def test_every_decision_is_listed_and_names_what_enforces_it() -> None:
    folder = ROOT / "docs" / "decisions"
    overview = (folder / "README.md").read_text(encoding="utf-8")
    decisions = sorted(folder.glob("[0-9]*.md"))
    assert len(decisions) >= 7
    for path in decisions:
        text = path.read_text(encoding="utf-8")
        assert f"({path.name})" in overview
        for part in (
            "**Context.**",
            "**Decision.**",
            "**Consequences.**",
            "**Alternatives.**",
            "**Enforced by**",
        ):
            assert part in text, f"{path.name} lacks {part}"


def test_the_changelog_has_unreleased_lines() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("## [Unreleased]")
    assert re.search(r"^- ", rest.partition("\n## [")[0], flags=re.MULTILINE)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "requirements-build.lock"])
def test_lock_files_hold_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    pinned = re.findall(r"^([\w.-]+)==\S+", text, flags=re.MULTILINE)
    assert pinned
    assert text.count("--hash=sha256:") >= len(pinned)
    assert "://" not in text
    assert "opencv-python" not in pinned


def test_everything_that_the_service_needs_is_locked() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE))
    wanted = {re.split(r"[\[<>=;~! ]", line, maxsplit=1)[0] for line in project["project"]["dependencies"]}
    assert wanted - locked == set()


def modules() -> list[Path]:
    return sorted(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))


def test_modules_stay_short() -> None:
    long = {}
    for path in modules():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if "versions" not in path.parts and lines > MOST_LINES.get(path.relative_to(ROOT).parts[0], 400):
            long[name_of(path)] = lines
    assert long == {}


def test_help_of_make_names_the_targets() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for target in ("setup", "run", "test", "check", "bench", "lock", "clean"):
        assert f"make {target}" in shown
