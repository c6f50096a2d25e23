"""Brings the register in line with the registrations where no change did: the settings name other codes."""

from collections.abc import Collection

from service.database import Database
from service.register import repository
from service.register.flags import FlagBook, FlagEvent, Standing, standing_of

BATCH = 500
"""Persons in one transaction; on SQLite other writers wait for it."""


def reconcile(database: Database, flagged_codes: Collection[str]) -> int:
    """Enter whoever is flagged and not in the register, and take out whoever is no longer.

    Those who leave are counted as other decreases: nobody established their identity.

    Returns:
        How many persons this transaction moved; call again until it is none.
    """
    with database.read() as session:  # Almost always there is nothing to do, and nobody has to wait.
        if not repository.unlisted_flagged(session, flagged_codes, limit=1) and not repository.wrongly_listed(
            session, flagged_codes, limit=1
        ):
            return 0
    with database.write() as session:
        book = FlagBook()
        missing = repository.unlisted_flagged(session, flagged_codes, limit=BATCH)
        for person in missing:
            book.note(person.person_id, None, standing_of(person, flagged_codes))
        wrong = repository.wrongly_listed(session, flagged_codes, limit=BATCH)
        for found in wrong:
            gone = isinstance(found, str)
            person_id = found if isinstance(found, str) else found.person_id
            after = None if isinstance(found, str) else standing_of(found, flagged_codes)
            before = Standing(flagged=True, division_code="", category=after.category if after else None)
            book.note(person_id, before, after, ended_as=None if gone else FlagEvent.OTHER)
        book.record(session)
    return len(missing) + len(wrong)
