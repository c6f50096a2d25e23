"""Compares what is locked with known vulnerabilities, from a copy of the advisories and without a network.

    make audit ARGS=advisories.zip          the copy for PyPI of osv.dev, or a folder with its files

Closed networks have no advisory service, but a file can be carried there. `make check` runs this too where
`ADVISORIES` names a copy. Form of the files: Open Source Vulnerability format, https://ossf.github.io/osv-schema/
"""

import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

LOCKS = ("requirements.lock", "requirements-build.lock")
"""What runs in production, and what builds it."""

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ \\;]+)", re.MULTILINE)


def locked(paths: Iterable[Path]) -> dict[str, set[Version]]:
    """Read the versions that lock files name, by package."""
    found: dict[str, set[Version]] = {}
    for path in paths:
        for name, version in PIN.findall(path.read_text(encoding="utf-8")):
            found.setdefault(canonicalize_name(name), set()).add(Version(version))
    return found


def advisories(place: Path) -> Iterator[dict[str, Any]]:
    """Read every advisory of a folder or a ZIP file.

    Raises:
        OSError: It cannot be read.
        ValueError: A file is no advisory.
    """
    if place.is_dir():
        for path in sorted(place.rglob("*.json")):
            yield json.loads(path.read_bytes())
        return
    with zipfile.ZipFile(place) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield json.loads(archive.read(name))


def concerns(advisory: dict[str, Any], pins: dict[str, set[Version]]) -> list[str]:
    """Name the locked packages that an advisory is about, with their versions."""
    if advisory.get("withdrawn"):
        return []
    hit = []
    for affected in advisory.get("affected", []):
        package = affected.get("package", {})
        name = canonicalize_name(package.get("name", ""))
        if package.get("ecosystem") == "PyPI":
            hit += [f"{name} {pin}" for pin in sorted(pins.get(name, ())) if _is_affected(pin, affected)]
    return hit


def _is_affected(pin: Version, affected: dict[str, Any]) -> bool:
    if any(_version(listed) == pin for listed in affected.get("versions", ())):
        return True
    ranges = (found for found in affected.get("ranges", ()) if found.get("type") == "ECOSYSTEM")
    return any(_within(pin, found.get("events", ())) for found in ranges)


def _within(pin: Version, events: Iterable[dict[str, str]]) -> bool:
    """Follow a range's events up to a version; whatever cannot be read counts as affected."""
    inside = False
    for event in events:
        for kind, text in event.items():
            at = _version(text)
            if kind == "introduced" and (text == "0" or at is None or at <= pin):
                inside = True
            elif at is not None and _ends(kind, at, pin):
                inside = False
    return inside


def _ends(kind: str, at: Version, pin: Version) -> bool:
    return (kind == "fixed" and at <= pin) or (kind == "last_affected" and at < pin)


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def main(arguments: list[str]) -> int:
    """Print each advisory that concerns a locked package.

    Returns:
        0: none; 1: some; 2: there was nothing to compare with.
    """
    if len(arguments) != 1:
        print("name a copy of the advisories: make audit ARGS=FILE_OR_FOLDER", file=sys.stderr)
        return 2
    pins = locked(map(Path, LOCKS))
    read = hits = 0
    for advisory in advisories(Path(arguments[0])):
        read += 1
        for package in concerns(advisory, pins):
            hits += 1
            print(f"{package}: {advisory['id']}: {advisory.get('summary', '')}")
    if not read:
        print(f"{arguments[0]} holds no advisories", file=sys.stderr)
        return 2
    print(f"{len(pins)} packages compared with {read} advisories: {hits or 'none'} concern them")
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
