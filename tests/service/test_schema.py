"""What start-up does about the schema."""

import os
import subprocess
import sys

import pytest
from alembic import command
from sqlalchemy import text

from service.database import Database, _alembic
from service.errors import SettingsError
from service.schema import newest_revision, prepare_schema


def rewind(database: Database, revision: str) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})


def empty(database: Database) -> None:
    with database.engine.begin() as connection:
        command.downgrade(_alembic(connection), "base")


def test_a_current_schema_is_left_alone(database: Database) -> None:
    prepare_schema(database)
    assert database.revision() == newest_revision()


def test_an_empty_database_is_filled(database: Database) -> None:
    empty(database)
    prepare_schema(database)
    assert database.is_current()


def test_a_later_versions_schema_is_refused(database: Database) -> None:
    rewind(database, "9999")
    with pytest.raises(SettingsError, match="later version of OnePerson"):
        prepare_schema(database)


def test_two_processes_may_fill_one_empty_database_at_once(database: Database) -> None:
    empty(database)
    environment = os.environ | {"ADDRESS": database.engine.url.render_as_string(hide_password=False)}
    program = (
        "import os\n"
        "from service.database import Database\n"
        "from service.schema import prepare_schema\n"
        "prepare_schema(Database(os.environ['ADDRESS']))\n"
    )
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(process.communicate()[1].decode(), process.returncode) for process in processes] == [("", 0)] * 2
    assert database.is_current()
