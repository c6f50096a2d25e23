"""The console command `oneperson`: finds the module of the command given, and loads only that one."""

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer

LOGGED = ("warning", "text")
"""What commands log, always to stderr, so that `KEY=$(oneperson client add …)` holds a key and nothing else;
those that serve configure their logs by the settings."""

HELP = "Finds people who hold more than one household registration, by comparing portraits."


@dataclass(frozen=True, slots=True)
class Entry:
    """One command.

    Attributes:
        name: As it is typed.
        place: `module:attribute` of a function, or of a `typer.Typer` with commands of its own.
        help: One line for the list of commands.
    """

    name: str
    place: str
    help: str

    def load(self) -> Any:
        """Import the command."""
        module, _, attribute = self.place.partition(":")
        return getattr(import_module(module), attribute)


COMMANDS = (
    Entry("serve", "scripts.serve:serve", "Serve the API and the pages."),
    Entry(
        "demo", "scripts.demo:demo", "Show it at work on an invented registry; nothing needs to be set up."
    ),
    Entry("migrate", "scripts.migrate:migrate", "Bring the database's schema to this version."),
    Entry("pack", "scripts.pack:app", "Add, list and verify model packs."),
    Entry("client", "scripts.client:app", "Systems that call the API, and their keys."),
    Entry("officer", "scripts.officer:app", "Officers' accounts."),
    Entry("key", "scripts.key:app", "The keys that everything stored is encrypted with."),
    Entry("import", "scripts.import_:import_file", "Import registrations from a CSV file, with portraits."),
    Entry(
        "rebuild", "scripts.rebuild:rebuild", "Write fresh generations of the galleries, verify and switch."
    ),
    Entry("evaluate", "scripts.evaluate:evaluate", "Measure a pack on labelled portraits."),
    Entry("rollback", "scripts.rollback:rollback", "Go back to the galleries' earlier generations or pack."),
    Entry(
        "calibrate",
        "scripts.calibrate:calibrate",
        "Measure the galleries' false-alarm rates and set the thresholds.",
    ),
    Entry("link", "scripts.link:link", "Find suspected duplicates among everybody enrolled."),
    Entry("report", "scripts.report:report", "Write a month's statistics to a file."),
    Entry("benchmark", "scripts.benchmark:app", "How fast, and whether right, beside what others use."),
    Entry("audit", "scripts.audit:app", "Verify, export and archive the audit log."),
    Entry(
        "backup",
        "scripts.backup:backup",
        "Back up everything into one encrypted file, while the service runs.",
    ),
    Entry("restore", "scripts.restore:restore", "Restore a backup into an empty installation."),
    Entry("files", "scripts.files:app", "Copy portraits and evidence into a bucket, or back."),
    Entry("retention", "scripts.retention:app", "Erase what is past its time."),
    Entry("doctor", "scripts.doctor:doctor", "Look for what is wrong with this installation."),
)


def application(chosen: str | None) -> typer.Typer:
    """Build the command line.

    Args:
        chosen: The command that will run and is loaded; of the others only the names are known.
    """
    app = typer.Typer(
        name="oneperson",
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback(help=HELP)(_options)
    for entry in COMMANDS:
        if entry.name != chosen:
            app.command(entry.name, help=entry.help)(_not_loaded)
            continue
        command = entry.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name, help=entry.help)
        else:
            app.command(entry.name)(command)
    return app


def main() -> None:
    """Run the command that the arguments name."""
    chosen = sys.argv[1] if len(sys.argv) > 1 else None
    if any(entry.name == chosen for entry in COMMANDS):
        from index.blas import tune_blas  # noqa: PLC0415 - `--help` needs none of it
        from scripts.failures import clear_failures  # noqa: PLC0415
        from service.logs import configure_logging  # noqa: PLC0415

        tune_blas()  # Before the command's module imports NumPy and FAISS.
        configure_logging(*LOGGED)
        with clear_failures():
            application(chosen)(prog_name="oneperson")
    application(None)(prog_name="oneperson")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"oneperson {version('oneperson')}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Take what stands before the command."""


def _not_loaded() -> None:
    """Stand in the list of commands for one that was not asked for."""
