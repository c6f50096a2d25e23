"""How a command fails: one clear line and an exit code, never a traceback for what could be foreseen."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from index.errors import OnePersonError
from service.errors import ServiceError, SettingsError

FAILED = 1
"""Exit code of a command that could not do its work."""

UNUSABLE = 2
"""Exit code of a wrong use or of settings that cannot be used; typer uses it, too."""


class CommandError(Exception):
    """A command cannot do its work; the message says why and what to do."""


@contextmanager
def clear_failures() -> Iterator[None]:
    """Turn foreseeable errors into one line on stderr and an exit code."""
    try:
        yield
    except SettingsError as error:
        _fail(str(error), UNUSABLE)
    except ServiceError as error:
        _fail(error.detail, FAILED)
    except (CommandError, OnePersonError) as error:
        _fail(str(error), FAILED)
    except BrokenPipeError:
        sys.stderr.close()  # Whoever read our output has gone; say nothing more.
        raise SystemExit(FAILED) from None
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        _fail(f"the system refused{place}: {error.strerror or error}", FAILED)


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split())
    print(f"oneperson: {line}", file=sys.stderr)
    raise SystemExit(code) from None
