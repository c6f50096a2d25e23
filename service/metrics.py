"""Figures for Prometheus; one registry per application, so that tests and processes stay apart."""

from collections.abc import Iterator, Mapping

from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.notices.workers import backlogs_of

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bucket bounds: a status read takes milliseconds, a check tens to hundreds, the time-out is 30 s."""

PART_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Likewise for the parts of a check: decoding takes a millisecond, waiting for others may take seconds."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})

router = APIRouter(tags=["operation"])


class Metrics:
    """The figures of one application."""

    def __init__(self, app: FastAPI) -> None:
        """Make the registry; gauges are read from the application when it is asked."""
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "oneperson_request_seconds",
            "Time to answer requests, by route and status.",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._checks = Counter(
            "oneperson_checks", "Checks made, by outcome.", ["outcome"], registry=self.registry
        )
        self._parts = Histogram(
            "oneperson_check_part_seconds",
            "Where the time of new checks goes, by part.",
            ["part"],
            buckets=PART_SECONDS,
            registry=self.registry,
        )
        self._problems = Counter(
            "oneperson_problems", "Problem documents answered, by code.", ["code"], registry=self.registry
        )
        self.registry.register(_State(app))

    def answered(self, method: str, route: str, *, status: int, seconds: float) -> None:
        """Count one request.

        Args:
            method: HTTP method; unknown ones count as one.
            route: The route's template, never the path.
            status: Of the answer, 0 when none was sent.
            seconds: From the first byte of the head to the last of the answer.
        """
        known = method if method in METHODS else "other"
        self._requests.labels(known, route, str(status)).observe(seconds)

    def checked(self, outcome: str) -> None:
        """Count one new check."""
        self._checks.labels(outcome).inc()

    def took(self, parts: Mapping[str, float]) -> None:
        """Count the parts of one new check, in seconds."""
        for part, seconds in parts.items():
            self._parts.labels(part).observe(seconds)

    def refused(self, code: str) -> None:
        """Count one problem document."""
        self._problems.labels(code).inc()


class _State(Collector):
    """Reads sizes and depths at the moment of asking."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges of what is open."""
        engine = getattr(self._app.state, "engine", None)
        depth = GaugeMetricFamily("oneperson_queue_depth", "Portraits and searches that run or wait.")
        waiting: int = self._app.state.turnstile.waiting
        depth.add_metric([], waiting + (0 if engine is None else engine.pending))
        yield depth
        galleries = getattr(self._app.state, "galleries", None)
        states = [] if galleries is None else galleries.states()
        for name, text, value in (
            ("persons", "Persons enrolled.", lambda state: state.persons),
            ("references", "References enrolled.", lambda state: state.references),
            ("position", "Last change of the database that was applied.", lambda state: state.position),
            ("ready", "1 when the gallery can answer.", lambda state: float(state.ready)),
        ):
            gauge = GaugeMetricFamily(f"oneperson_gallery_{name}", text, labels=["gallery"])
            for state in states:
                gauge.add_metric([state.gallery], value(state))
            yield gauge

        yield from self._deliveries()

    def _deliveries(self) -> Iterator[Metric]:
        """Yield what webhooks have not delivered; nothing while the database is away."""
        number = GaugeMetricFamily(
            "oneperson_notice_deliveries", "Notices not delivered yet.", labels=["target", "state"]
        )
        age = GaugeMetricFamily(
            "oneperson_notice_delivery_age_seconds",
            "Age of the oldest notice not delivered.",
            labels=["target"],
        )
        for backlog in backlogs_of(self._app):
            number.add_metric([backlog.target, "waiting"], backlog.waiting)
            number.add_metric([backlog.target, "dead"], backlog.dead)
            age.add_metric([backlog.target], backlog.oldest_s)
        yield from (number, age)

    def describe(self) -> Iterator[Metric]:
        """Nothing is fixed beforehand."""
        return iter(())


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format."}},
)
def metrics(request: Request) -> Response:
    """Return request times, checks by outcome, gallery sizes and queue depth; no personal data."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
