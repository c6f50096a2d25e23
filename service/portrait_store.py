"""Keeps portraits and probes as encrypted files; the database holds their locations."""

from pathlib import Path

from service.encryption.blobs import LOCATION, BlobStore
from service.encryption.medium import Medium
from service.encryption.opener import Opener

__all__ = ["LOCATION", "PortraitStore", "owner_of_check", "owner_of_person"]

KIND = "portrait"


class PortraitStore(BlobStore):
    """The store of portraits and probes; see `BlobStore`."""

    def __init__(self, place: Path | Medium, vault: Opener | None = None) -> None:
        """Use this place, made when the first portrait comes.

        Args:
            place: A folder, or another medium.
            vault: Seals and opens; None where portraits are only listed and deleted.
        """
        super().__init__(place, vault, kind=KIND)


def owner_of_person(person_id: str) -> str:
    """Name the owner of an enrolled portrait."""
    return f"person:{person_id}"


def owner_of_check(transaction_id: str) -> str:
    """Name the owner of a check's probe."""
    return f"transaction:{transaction_id}"
