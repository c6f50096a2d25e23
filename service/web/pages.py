"""Puts the pages on an application."""

from fastapi import FastAPI

from service.auth.failures import FailureThrottle
from service.auth.oidc import Provider
from service.web import (
    account,
    appeals,
    cases,
    drafting,
    opinions,
    portraits,
    queue,
    sign_in,
    single_sign_on,
)
from service.web.assets import install_assets


def install_pages(app: FastAPI) -> None:
    """Add the pages' routes and what they remember."""
    app.state.sign_in_throttle = FailureThrottle()
    app.state.oidc = Provider(app.state.settings)
    install_assets(app)
    for part in (sign_in, single_sign_on, account, queue, cases, opinions, drafting, appeals, portraits):
        app.include_router(part.router)
