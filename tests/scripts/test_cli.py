"""The command line as a whole."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from scripts import cli
from scripts.cli import COMMANDS
from scripts.failures import CommandError, clear_failures
from service.errors import NotFoundError, SettingsError
from tests.scripts.commands import Operator


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Operator:
    monkeypatch.chdir(tmp_path)
    typist = Operator(monkeypatch, capsys)
    typist.set("data_dir", tmp_path / "var")
    return typist


def test_help_lists_every_command(operator: Operator) -> None:
    done = operator.types("--help")
    assert done.code == 0
    assert all(entry.name in done.out for entry in COMMANDS)


def test_without_a_command_the_help_is_shown(operator: Operator) -> None:
    done = operator.types()
    assert done.code == 2
    assert "serve" in done.out + done.err


def test_the_version_is_printed(operator: Operator) -> None:
    assert operator.types("--version").out.strip() == f"oneperson {version('oneperson')}"


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_loads_and_has_help(entry: cli.Entry, operator: Operator) -> None:
    done = operator.types(entry.name, "--help")
    assert done.code == 0, done.err
    assert f"oneperson {entry.name}" in done.out


def test_command_names_are_used_once() -> None:
    assert len({entry.name for entry in COMMANDS}) == len(COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["serve", "--no-such-option"],
        ["serve", "--port", "99999"],
        ["client", "add"],
        ["client", "add", "x", "--scope", "everything"],
        ["client", "add", "../x", "--scope", "checks"],
        ["client", "add", "x", "--scope", "checks", "--expires", "0"],
        ["officer", "add", "li", "--name", "Li", "--role", "king", "--division", "530100"],
        ["officer", "add", "li", "--name", "Li", "--role", "officer", "--division", "kunming"],
        ["officer", "add", "li", "--name", " ", "--role", "officer", "--division", "530100"],
    ],
)
def test_wrong_use_is_told_with_exit_code_2(arguments: list[str], operator: Operator) -> None:
    done = operator.types(*arguments)
    assert done.code == 2
    assert done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("no_such_setting", "1", "ONEPERSON_NO_SUCH_SETTING"),
        ("threads", "many", "ONEPERSON_THREADS"),
        ("database_url", "mysql+pymysql://u:hidden-password@h/d", "ONEPERSON_DATABASE_URL"),
        ("database_url", "hidden-password", "ONEPERSON_DATABASE_URL"),
        ("database_url", "postgresql+psycopg://u:hidden-password@h:port/d", "ONEPERSON_DATABASE_URL"),
        ("database_url", "oracle://u:hidden-password@h/d", "ONEPERSON_DATABASE_URL"),
    ],
)
def test_unusable_settings_are_one_line_with_exit_code_2(
    name: str, value: str, named: str, operator: Operator
) -> None:
    operator.set(name, value)
    done = operator.types("client", "list")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert done.err.startswith("oneperson: ")
    assert named in done.err
    assert "hidden-password" not in done.err


def test_a_data_folder_that_cannot_be_made_is_named(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    operator.set("data_dir", tmp_path / "file" / "var")
    done = operator.types("client", "list")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert str(tmp_path / "file") in done.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SettingsError("ONEPERSON_PACK: none"), 2, "oneperson: ONEPERSON_PACK: none\n"),
        (CommandError("two\nlines"), 1, "oneperson: two lines\n"),
        (NotFoundError("There is none."), 1, "oneperson: There is none.\n"),
        (
            FileNotFoundError(2, "No such file", "a.csv"),
            1,
            "oneperson: the system refused a.csv: No such file\n",
        ),
    ],
)
def test_foreseeable_errors_are_one_line(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, clear_failures():
        raise error
    assert ended.value.code == code
    assert capsys.readouterr().err == line


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), clear_failures():
        raise ZeroDivisionError


def test_help_loads_none_of_the_heavy_libraries() -> None:
    program = (
        "import sys; sys.argv = ['oneperson', '--help']\n"
        "from scripts.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'cv2', 'faiss', 'onnxruntime', 'sqlalchemy', 'fastapi', 'matplotlib'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_environment_is_tuned_before_numpy_is_loaded() -> None:
    program = (
        "import os, sys; sys.argv = ['oneperson', 'client', '--help']\n"
        "import index.blas, scripts.cli\n"
        "assert 'numpy' not in sys.modules\n"
        "tuned = index.blas.tune_blas\n"
        "def note(): assert 'numpy' not in sys.modules; tuned(); print('tuned')\n"
        "index.blas.tune_blas = note\n"
        "scripts.cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tuned\n")


def test_groups_are_typer_applications_and_the_rest_functions() -> None:
    for entry in COMMANDS:
        loaded = entry.load()
        assert isinstance(loaded, typer.Typer) or callable(loaded)
