"""Writes the reference documents from the code: `python -m scripts.reference`.

`docs/settings.md`, `docs/problems.md` and `docs/commands.md` are never edited by
hand; a test fails when they are not what this module writes.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from scripts.cli import COMMANDS, HELP, Entry
from service.language import LANGUAGES, translate
from service.problems import problem_classes
from service.settings import PREFIX, Settings

DOCS = Path(__file__).parent.parent / "docs"
WRITTEN_BY = "<!-- Written by `python -m scripts.reference` from the code; do not edit. -->"


def documents() -> dict[str, str]:
    """Return every reference document by its file name."""
    return {
        "settings.md": _text(_settings()),
        "problems.md": _text(_problems()),
        "commands.md": _text(_commands()),
    }


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


def _settings() -> Iterator[str]:
    yield from ("# Settings", "", WRITTEN_BY, "")
    yield (
        "Read once at start, from the environment or from a file `.env` in the working directory; the "
        "environment wins. Names that do not exist are refused, so that a misspelt setting cannot go "
        "unnoticed. With none set the service runs on SQLite under `var/`."
    )
    yield from ("", "| setting | default | values | what it does |", "|---|---|---|---|")
    for name, field in Settings.model_fields.items():
        cells = (f"`{PREFIX}{name.upper()}`", _default(field), _values(field), field.description or "")
        yield f"| {' | '.join(map(_cell, cells))} |"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined or field.default is None:
        return "–"
    value = field.default
    if isinstance(value, frozenset):
        return f"`{[*sorted(value)]}`".replace("'", '"')
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(field: FieldInfo) -> str:
    kind = field.annotation
    bounds = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if getattr(rule, name, None) is not None
    ]
    options = [f"`{option}`" for option in get_args(kind) if isinstance(option, str)]
    words = ", ".join(options) if options else _kind(kind)
    return " ".join([words, *bounds])


def _kind(kind: Any) -> str:
    if get_origin(kind) is frozenset:
        return "JSON array"
    names = {int: "integer", float: "number", bool: "`true`, `false`", str: "text", Path: "path"}
    inner = [part for part in get_args(kind) if part is not type(None)]
    known = inner[0] if inner else kind
    return names.get(known, "text")


def _problems() -> Iterator[str]:
    yield from ("# Problem codes", "", WRITTEN_BY, "")
    yield (
        "Every error of the API is a problem document (RFC 9457, `application/problem+json`): `type` is "
        "`/problems/<code>`, `title` comes in the language of `Accept-Language`, `detail` says what to do, "
        "`instance` holds the request's id. Only the code is a promise; the words may change. "
        "`GET /problems/<code>` explains a code, too. Answers with 503 carry `Retry-After` and may be "
        "repeated as they are."
    )
    for code, cls in sorted(problem_classes().items(), key=lambda item: (item[1].status, item[0])):
        yield from ("", f"## `{code}` · {cls.status}", "")
        for language in LANGUAGES[::-1]:
            title, meaning, remedy = (
                translate(language, f"problem.{code}.{part}") for part in ("title", "meaning", "remedy")
            )
            between = "" if language.startswith("zh") else " "
            yield f"- **{title}** — {meaning}{between}{remedy}"


def _commands() -> Iterator[str]:
    yield from ("# Commands", "", WRITTEN_BY, "")
    yield (
        f"{HELP} Exit codes: 0 done, 1 not (all) done, 2 wrong use or unusable settings, 130 interrupted. "
        "`--help` after any command shows the same as here."
    )
    for entry in COMMANDS:
        yield from _command(entry)


def _command(entry: Entry) -> Iterator[str]:
    loaded = entry.load()
    if isinstance(loaded, typer.Typer):
        group = get_command(loaded)
        if isinstance(group, TyperGroup):
            for name, command in group.commands.items():
                yield from _section(f"oneperson {entry.name} {name}", command)
            return
        yield from _section(f"oneperson {entry.name}", group)
        return
    single = typer.Typer(add_completion=False)
    single.command(entry.name)(loaded)
    yield from _section(f"oneperson {entry.name}", get_command(single))


def _section(name: str, command: Any) -> Iterator[str]:
    one: TyperCommand = command
    context = one.make_context(name, [], resilient_parsing=True)
    yield from ("", f"## `{name}`", "", (one.help or "").strip())
    records = [record for record in (part.get_help_record(context) for part in one.params) if record]
    if records:
        yield from ("", "| | |", "|---|---|")
    for shown, words in records:
        yield f"| `{_cell(shown)}` | {_cell(words)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write the documents."""
    for name, text in documents().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}", file=sys.stderr)


if __name__ == "__main__":
    main()
