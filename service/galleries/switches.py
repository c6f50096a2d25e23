"""Which pack is in force: the one in the settings, or what a rebuild or rollback has put in its place since.

The switches stand in the database, so every process and machine learns of them; `service.switching` has a
running service take them over. Whoever changes `ONEPERSON_PACK` has the last word: a switch holds as long as
the setting says what it said when the switch was made.
"""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from index.pack import Pack
from service.database import Database
from service.settings import Settings
from service.tables import PackSwitch

NO_SWITCH = 0
"""Number of the pack that the settings name, before any switch."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The pack to search with.

    Attributes:
        settings: The settings, with `pack` naming the pack in force.
        switch: Number of the switch that says so, or `NO_SWITCH`.
        contract_id: Of the pack that the switch means; None without a switch.
    """

    settings: Settings
    switch: int
    contract_id: str | None


def in_force(session: Session, settings: Settings) -> InForce:
    """Tell which pack is to be searched with.

    Args:
        session: A view.
        settings: As the environment gives them.
    """
    newest = _newest(session)
    if newest is None or newest.configured != settings.pack:
        return InForce(settings, NO_SWITCH if newest is None else newest.id, None)
    return InForce(settings.model_copy(update={"pack": newest.pack}), newest.id, newest.contract_id)


def settings_in_force(database: Database, settings: Settings) -> Settings:
    """Return the settings, with `pack` naming the pack in force."""
    with database.read() as session:
        return in_force(session, settings).settings


def announce(
    session: Session,
    settings: Settings,
    pack: Pack,
    *,
    name: str,
    contract_before: str,
    undoes: int | None = None,
) -> int:
    """Have every running service take over a pack with its current generations; return the switch's number.

    Args:
        session: The transaction.
        settings: As the environment gives them.
        pack: Whose generations were activated.
        name: How `ONEPERSON_PACK` would name it, on every machine.
        contract_before: Of the pack in force until now.
        undoes: The switch that this one takes back.
    """
    switch = PackSwitch(
        configured=settings.pack,
        pack=name,
        contract_id=pack.contract_id,
        pack_before=in_force(session, settings).settings.pack,
        contract_before=contract_before,
        undoes=undoes,
    )
    session.add(switch)
    session.flush()
    return switch.id


def to_take_back(session: Session, settings: Settings) -> PackSwitch | None:
    """Return the last switch that has not been taken back and still holds; None if there is none."""
    query = select(PackSwitch).where(PackSwitch.configured == settings.pack).order_by(PackSwitch.id)
    standing: list[PackSwitch] = []
    for switch in session.scalars(query):
        if switch.undoes is None:
            standing.append(switch)
        else:
            standing = [one for one in standing if one.id != switch.undoes]
    return standing[-1] if standing else None


def was_ever_switched(session: Session) -> bool:
    """Tell whether services have ever been told to take over a pack."""
    return _newest(session) is not None


def _newest(session: Session) -> PackSwitch | None:
    return session.scalar(select(PackSwitch).order_by(PackSwitch.id.desc()).limit(1))
