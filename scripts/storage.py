"""Opens what commands work on."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.database import Database
from service.schema import prepare_schema
from service.settings import Settings


@contextmanager
def prepared_database(settings: Settings) -> Iterator[Database]:
    """The database that the settings name, with its schema in order; closed at the end.

    Raises:
        SettingsError: Its schema needs the operator.
        DatabaseUnavailableError: It is away.
    """
    database = Database(settings.database_address)
    try:
        prepare_schema(database)
        yield database
    finally:
        database.close()
