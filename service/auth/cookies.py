"""The cookies by which a browser is known: their names depend on how officers reach the pages."""

from service.settings import Settings


def is_https(settings: Settings) -> bool:
    """Tell whether officers reach the pages by https."""
    return settings.public_url.lower().startswith("https://")


def cookie_name(base: str, settings: Settings) -> str:
    """Return a cookie's name; over https browsers bind `__Host-` names to this very host."""
    return f"__Host-{base}" if is_https(settings) else base


def session_cookie_name(settings: Settings) -> str:
    """Return the name of the cookie that holds a session's token."""
    return cookie_name("oneperson_session", settings)
