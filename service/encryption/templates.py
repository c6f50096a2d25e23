"""Templates as the database holds them: each sealed for its portrait and its pack."""

from collections.abc import Iterable

from service.encryption.vault import Vault
from service.errors import KeyMissingError, SealBrokenError

PURPOSE = "template"


def template_place(reference_id: int, contract_id: str) -> str:
    """Name the row of a template."""
    return f"{reference_id}:{contract_id}"


def sealed_template(vault: Vault, reference_id: int, contract_id: str, vector: bytes) -> bytes:
    """Seal a template for its row."""
    return vault.seal(PURPOSE, template_place(reference_id, contract_id), vector)


def opened_template(vault: Vault, reference_id: int, contract_id: str, sealed: bytes) -> bytes:
    """Open a template; one that was altered or moved gives no bytes, so that it counts as damaged.

    Raises:
        KeyMissingError: Its key is not given, which says nothing of the template.
    """
    try:
        return vault.open(PURPOSE, template_place(reference_id, contract_id), sealed)
    except KeyMissingError:
        raise
    except SealBrokenError:
        return b""


def opened_templates(vault: Vault, contract_id: str, rows: Iterable[tuple[int, bytes]]) -> list[bytes]:
    """Open the templates of many references as `opened_template` does.

    Raises:
        KeyMissingError: The key of one is not given.
    """
    return [opened_template(vault, reference_id, contract_id, sealed) for reference_id, sealed in rows]
