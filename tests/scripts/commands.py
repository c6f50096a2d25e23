"""Runs commands as an operator does, in this process."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.cli import main
from service.logs import configure_logging


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended.

    Attributes:
        code: Exit code.
        out: What it wrote to stdout.
        err: What it wrote to stderr.
    """

    code: int
    out: str
    err: str


class Operator:
    """Types commands, with settings of their own in the environment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """Use pytest's means to set and to read."""
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        for name in ("OPENBLAS_CORETYPE", "OMP_WAIT_POLICY"):  # The command sets what is not set.
            monkeypatch.setenv(name, os.environ.get(name, ""))

    def set(self, name: str, value: str | Path) -> None:
        """Put a setting into the environment."""
        self._monkeypatch.setenv(f"ONEPERSON_{name.upper()}", str(value))

    def types(self, *arguments: str) -> Done:
        """Run `oneperson` with arguments."""
        self._monkeypatch.setattr(sys, "argv", ["oneperson", *arguments])
        self._capsys.readouterr()
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        else:
            code = 0
        finally:
            configure_logging("info", "json")
        written = self._capsys.readouterr()
        return Done(code, written.out, written.err)
