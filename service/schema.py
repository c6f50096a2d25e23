"""Whether the database's schema fits this version, and what is done when it does not."""

from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from service.database import MIGRATIONS, Database
from service.errors import SettingsError


def newest_revision() -> str | None:
    """Return the revision that this version of the code needs."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def is_known(revision: str) -> bool:
    """Tell whether this version of the code has a revision."""
    try:
        ScriptDirectory(str(MIGRATIONS)).get_revision(revision)
    except CommandError:
        return False
    return True


def prepare_schema(database: Database) -> None:
    """Make the schema ready for serving, or say what the operator must do.

    An empty database is filled. A SQLite file that is behind is brought forward:
    it has one user, this service. PostgreSQL that is behind is left alone, because
    other processes of the older version may be using it and a backup comes first.

    Raises:
        SettingsError: The operator must act; the message says how.
        DatabaseUnavailableError: The database is away.
    """
    revision, newest = database.revision(), newest_revision()
    if revision == newest:
        return
    if revision is not None:
        refuse_newer(revision)
        if database.engine.dialect.name != "sqlite":
            raise SettingsError(
                f"the database's schema is at revision {revision} and this version needs {newest}: "
                "make a backup, stop the other processes and run 'oneperson migrate'"
            )
    database.migrate()


def refuse_newer(revision: str) -> None:
    """Refuse a schema that a later version of the code has made.

    Raises:
        SettingsError: It was.
    """
    if not is_known(revision):
        raise SettingsError(
            f"the database's schema is at revision {revision}, which this version does not know: "
            "it was migrated by a later version of OnePerson; install that one, or restore a backup"
        )
