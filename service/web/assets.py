"""Static files under addresses that change with their content, so that browsers may keep them for good.

The digest stands in the path, not behind it: a module of ours imports its neighbours by relative addresses,
which then carry the same digest.
"""

import hashlib
import os
from functools import cache
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"

KEPT = "public, max-age=31536000, immutable"
"""A year, the longest that RFC 9111 implementations agree on; nothing here is about anybody."""


class KeptFiles(StaticFiles):
    """Static files that a browser need not ask for twice."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Answer with the file."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = KEPT
        return response


@cache
def digest() -> str:
    """Return what stands for the present content of all static files."""
    content = hashlib.sha256()
    for path in sorted(path for path in STATIC.iterdir() if path.is_file()):
        content.update(path.name.encode() + b"\0" + path.read_bytes())
    return content.hexdigest()[:12]


def asset(name: str) -> str:
    """Return the address of a static file.

    Raises:
        FileNotFoundError: There is none of this name.
    """
    if not (STATIC / name).is_file():
        raise FileNotFoundError(name)
    return f"/static/{digest()}/{name}"


def install_assets(app: FastAPI) -> None:
    """Serve the files under the digest; before `/static`, which serves the newest under lasting names."""
    app.router.routes.insert(0, Mount(f"/static/{digest()}", KeptFiles(directory=STATIC), name="assets"))
