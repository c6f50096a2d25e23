"""The reference documents say what the code does."""

import pytest

from scripts.cli import COMMANDS
from scripts.reference import DOCS, documents
from service.problems import problem_classes
from service.settings import PREFIX, Settings


@pytest.mark.parametrize("name", ["settings.md", "problems.md", "commands.md"])
def test_the_document_is_what_the_code_gives(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == documents()[name], (
        "run 'python -m scripts.reference' and commit docs/"
    )


def test_every_setting_is_documented_with_a_description() -> None:
    text = documents()["settings.md"]
    for name, field in Settings.model_fields.items():
        assert f"`{PREFIX}{name.upper()}`" in text
        assert field.description
        assert field.description in text


def test_every_problem_is_documented_in_both_languages() -> None:
    text = documents()["problems.md"]
    for code, cls in problem_classes().items():
        assert f"## `{code}` · {cls.status}" in text


def test_every_command_is_documented() -> None:
    text = documents()["commands.md"]
    for entry in COMMANDS:
        assert f"## `oneperson {entry.name}" in text


def test_no_default_depends_on_this_machine() -> None:
    assert "| `ONEPERSON_THREADS` | – |" in documents()["settings.md"]
