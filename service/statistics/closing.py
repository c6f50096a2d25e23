"""Closes months by itself on the day that the settings name, and keeps the register in line with them."""

from service.auth.service import SYSTEM
from service.clock import ClockWatch
from service.database import Database
from service.errors import MonthStateError
from service.register.reconciling import reconcile
from service.settings import Settings
from service.statistics.service import close_month, due_month
from service.workers import Worker

EVERY_S = 600.0
"""Seconds between looks; a month may be closed so much after midnight."""


def closing_worker(database: Database, settings: Settings, clock: ClockWatch) -> Worker:
    """Return the worker that closes what is due, one month a turn, while the clock can be believed."""

    def turn() -> bool:
        if reconcile(database, settings.flagged_codes):
            return True
        if not clock.is_believed():
            return False
        with database.read() as session:
            month = due_month(session, close_day=settings.month_close_day)
        if month is None:
            return False
        try:
            close_month(database, month, actor=SYSTEM)
        except MonthStateError:  # Another process was first.
            return False
        return True

    return Worker("statistics", turn, EVERY_S)
