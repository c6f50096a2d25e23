"""Starts what delivers notices, one thread for each target, so that none waits for another."""

from fastapi import FastAPI

from service.errors import DatabaseUnavailableError
from service.notices.delivery import Backlog, Delivery, backlogs, policy_of
from service.notices.targets import allow_list, load_targets
from service.settings import Settings
from service.workers import Worker

EVERY_S = 2.0
"""Seconds between looks at the queue; a look that finds nothing reads two rows."""


def start_deliveries(app: FastAPI) -> None:
    """Read the targets and begin to deliver.

    Raises:
        SettingsError: The file of targets or one of its targets cannot be used.
    """
    settings: Settings = app.state.settings
    allowed = allow_list(settings.webhook_allowed, settings.webhook_private)
    app.state.notice_targets = targets = load_targets(settings.webhooks_file, allowed)
    policy = policy_of(settings)
    for target in targets:
        delivery = Delivery(target, database=app.state.database, allowed=allowed, policy=policy)
        app.state.workers.start(Worker(f"webhook:{target.name}", delivery.turn, EVERY_S))


def backlogs_of(app: FastAPI) -> list[Backlog]:
    """Return what the targets of an application have not taken; nothing while the database is away."""
    targets = getattr(app.state, "notice_targets", ())
    if not targets:
        return []
    try:
        return backlogs(app.state.database, targets)
    except DatabaseUnavailableError:
        return []
