"""Opens the stores of files where the settings say that they are."""

import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from service.encryption.blobs import BlobStore
from service.encryption.folder import Folder
from service.encryption.medium import Medium
from service.encryption.opener import Opener
from service.errors import SettingsError
from service.portrait_store import PortraitStore
from service.settings import Settings

if TYPE_CHECKING:
    from service.encryption.s3 import S3Place

URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(/[A-Za-z0-9._=-]+)*)/?")
"""A bucket's name as Amazon's rules allow it, and names in which every store takes objects."""

EVIDENCE = "evidence"


def portrait_store(settings: Settings, vault: Opener | None = None) -> PortraitStore:
    """Open the store of portraits and probes.

    Args:
        settings: Where it is.
        vault: Seals and opens; None where files are only listed and deleted.

    Raises:
        SettingsError: The place cannot be used as it is set; the message says what to do.
    """
    return PortraitStore(_medium(settings, settings.portraits_dir), vault)


def evidence_store(settings: Settings, vault: Opener | None = None) -> BlobStore:
    """Open the store of evidence; see `portrait_store`."""
    return BlobStore(_medium(settings, settings.evidence_dir), vault, kind=EVIDENCE)


def require_place(settings: Settings) -> None:
    """Make sure that the stores can be opened; whether anything answers there is not asked.

    Raises:
        SettingsError: They cannot; the message says what to do.
    """
    _medium(settings, settings.portraits_dir)


def _medium(settings: Settings, folder: Path) -> Medium:
    """Return what a store lies on: its folder, or objects under its folder's name."""
    if not settings.files_url:
        return Folder(folder)
    place = _place(settings, settings.files_url)
    from service.encryption.s3 import S3Objects  # noqa: PLC0415 - an extra

    return S3Objects(place, folder.name, process=os.getpid())


def _place(settings: Settings, url: str) -> "S3Place":
    found = URL.fullmatch(url)
    if found is None:
        raise SettingsError(
            "ONEPERSON_FILES_URL: must be s3://BUCKET/PREFIX, of small letters, digits, dots and hyphens; "
            "leave it out to keep files in the data folder"
        )
    if importlib.util.find_spec("s3fs") is None:
        raise SettingsError("ONEPERSON_FILES_URL needs the package s3fs: pip install '.[s3]'")
    from service.encryption.s3 import S3Place  # noqa: PLC0415 - an extra

    key, secret = _access(settings)
    return S3Place(
        bucket=found["bucket"],
        prefix=found["prefix"].strip("/"),
        endpoint=_endpoint(settings.s3_endpoint),
        region=settings.s3_region or "us-east-1",
        addressing=settings.s3_addressing,
        ca_file=_certificates(settings.s3_ca_file),
        timeout_s=settings.s3_timeout_s,
        key=key,
        secret=secret,
    )


def _endpoint(address: str | None) -> str | None:
    if address is None:
        return None
    parts = urlsplit(address)
    plain = not parts.path.strip("/") and not parts.query and parts.username is None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
        raise SettingsError("ONEPERSON_S3_ENDPOINT: must be https://HOST or https://HOST:PORT, nothing more")
    return address.rstrip("/")


def _certificates(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise SettingsError(f"ONEPERSON_S3_CA_FILE: there is no file {path}")
    return path


def _access(settings: Settings) -> tuple[str, str]:
    """Return the access key's id and secret; never from files or services that nobody has named."""
    key, secret, path = settings.s3_access_key, settings.s3_secret_key, settings.s3_key_file
    if key is not None and secret is not None and path is None:
        return key.get_secret_value(), secret.get_secret_value()
    if path is None or key is not None or secret is not None:
        raise SettingsError(
            "ONEPERSON_FILES_URL needs an access key: give ONEPERSON_S3_ACCESS_KEY and "
            "ONEPERSON_S3_SECRET_KEY, or ONEPERSON_S3_KEY_FILE with both, one a line, and nothing besides"
        )
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError(f"ONEPERSON_S3_KEY_FILE: others may read {path}: chmod 600 {path}")
        lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise SettingsError(f"ONEPERSON_S3_KEY_FILE: {path} cannot be read ({reason})") from None
    if len(lines) != 2:
        raise SettingsError("ONEPERSON_S3_KEY_FILE: two lines are wanted, the access key's id first")
    return lines[0], lines[1]
