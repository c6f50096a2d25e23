"""Puts the application together; wiring only."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

import anyio.to_thread
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware

from service import health, metrics
from service.auth.failures import FailureThrottle
from service.checks import api as checks
from service.documentation import DESCRIPTION, TAGS, install_documentation
from service.gate import Gate
from service.health import Readiness
from service.metrics import Metrics
from service.middleware import BodyLimit, RequestBoundary
from service.notices import api as notices
from service.persons import api as persons
from service.problems import install_handlers
from service.rate_limits import RateLimits
from service.review import api as review
from service.review import evidence_api as evidence
from service.settings import Settings
from service.startup import is_open, opened
from service.statistics import api as statistics
from service.turn_taking import TurnTaking
from service.turnstile import turnstile_for
from service.web.pages import install_pages
from service.web.problem_pages import ProblemPages

SPARE_THREADS = 24
"""Threads for requests beside those that have their turn at the engine; whoever waits for it needs none."""


def create_app(settings: Settings) -> FastAPI:
    """Build the application; its lifespan opens the database, the pack and the galleries.

    Args:
        settings: As the entry point read them.
    """
    app = FastAPI(
        title="OnePerson",
        version=version("oneperson"),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        middleware=[
            Middleware(ProblemPages),
            Middleware(RequestBoundary),
            Middleware(Gate),
            Middleware(
                BodyLimit, max_bytes=settings.max_body_bytes, max_total_bytes=settings.max_bodies_bytes
            ),
            Middleware(TurnTaking),
        ],
    )
    app.state.settings = settings
    app.state.metrics = Metrics(app)
    app.state.readiness = Readiness(app)
    app.state.key_throttle = FailureThrottle()
    app.state.rate_limits = RateLimits(settings)
    app.state.turnstile = turnstile_for(settings)
    install_handlers(app)
    install_documentation(app)
    for domain in (persons, checks, review, evidence, notices, statistics, health, metrics):
        app.include_router(domain.router)
    install_pages(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open and close off the event loop, unless the entry point has opened everything before."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = app.state.turnstile.at_once + SPARE_THREADS
    async with AsyncExitStack() as stack:
        if not is_open(app):
            resources = opened(app)
            await run_in_threadpool(resources.__enter__)
            stack.push_async_callback(run_in_threadpool, resources.__exit__, None, None, None)
        yield
