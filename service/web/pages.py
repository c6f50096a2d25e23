"""Puts the pages on an application."""

from fastapi import FastAPI

from service.web import cases, opinions, portraits, queue, sign_in
from service.web.throttle import FailureThrottle


def install_pages(app: FastAPI) -> None:
    """Add the pages' routes and what they remember."""
    app.state.sign_in_throttle = FailureThrottle()
    for part in (sign_in, queue, cases, opinions, portraits):
        app.include_router(part.router)
