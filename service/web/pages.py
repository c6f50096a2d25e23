"""Puts the pages on an application."""

from fastapi import FastAPI

from service.auth.failures import FailureThrottle
from service.auth.oidc import Provider
from service.web import (
    account,
    appeals,
    audit,
    cases,
    drafting,
    notices,
    opinions,
    portraits,
    queue,
    register,
    sign_in,
    single_sign_on,
    statistics,
)
from service.web.assets import install_assets


def install_pages(app: FastAPI) -> None:
    """Add the pages' routes and what they remember."""
    app.state.sign_in_throttle = FailureThrottle()
    app.state.oidc = Provider(app.state.settings)
    install_assets(app)
    desk = (queue, cases, opinions, drafting, appeals, portraits)
    for part in (sign_in, single_sign_on, account, *desk, notices, register, statistics, audit):
        app.include_router(part.router)
