"""Opens what commands work on."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.audit.chain import sealed_database
from service.audit.opening import open_audit
from service.database import Database
from service.encryption.opening import open_vault
from service.schema import prepare_schema
from service.settings import Settings


@contextmanager
def prepared_database(settings: Settings, *, encrypting: bool = False) -> Iterator[Database]:
    """The database that the settings name, with its schema in order and its keys at hand; closed at the end.

    Args:
        settings: As the command read them.
        encrypting: Whether an installation that is not encrypted yet may be opened.

    Raises:
        SettingsError: The keys are wrong, or its schema needs the operator.
        DatabaseUnavailableError: It is away.
    """
    database = sealed_database(settings)
    try:
        prepare_schema(database)
        open_audit(database, settings)
        open_vault(database, settings, encrypting=encrypting)
        yield database
    finally:
        database.close()
