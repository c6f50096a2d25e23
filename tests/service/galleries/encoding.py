"""Re-encoding as the tests need it: all at once, in this process."""

from index.pack import Pack
from service.database import Database
from service.galleries.rebuild import Advance, Encoded, encode_missing
from service.portrait_store import PortraitStore


def _nothing(_count: int) -> None:
    """Be told, and keep quiet."""


def encode_all(
    database: Database, store: PortraitStore, pack: Pack, *, advance: Advance = _nothing
) -> Encoded:
    """Encode whatever the pack has not encoded yet."""
    return encode_missing(database, store, pack, threads=2, advance=advance)
