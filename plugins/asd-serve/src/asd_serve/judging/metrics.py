"""What Prometheus is told: requests, their latency, queue, passes, streams; and what the listener counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asd_serve.state import State

if TYPE_CHECKING:
    from asd_serve.judging.judging import Judging

CONTENT_TYPE = CONTENT_TYPE_LATEST
_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CLIPS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What one server counts, in a registry of its own.

    Parameters
    ----------
    state : State
        Whose plant is asked for its listener.
    judging : Judging
        Whose queue and models are asked.
    """

    def __init__(self, state: State, judging: Judging) -> None:
        self.registry = own = CollectorRegistry()
        ProcessCollector(registry=own)
        PlatformCollector(registry=own)
        named = ("method", "path", "status")
        self.requests = Counter("asd_serve_requests", "Requests that were answered.", named, registry=own)
        self.latency = Histogram(
            "asd_serve_request_seconds", "From the head of a request to the end of its answer.",
            ("path",), buckets=_LATENCY, registry=own,
        )  # fmt: skip
        self.clips = Counter("asd_serve_clips", "Clips that were judged.", ("model", "verdict"), registry=own)
        self.batch = Histogram("asd_serve_pass_clips", "Clips of a pass.", buckets=_CLIPS, registry=own)
        self.passes = Histogram("asd_serve_pass_seconds", "Time of a pass.", buckets=_LATENCY, registry=own)
        self.streams = Gauge("asd_serve_streams", "WebSocket streams that are open.", registry=own)
        self.sound = Counter("asd_serve_stream_seconds", "Seconds of sound that came by streams.", registry=own)
        waiting = Gauge("asd_serve_clips_waiting", "Clips that are being cut, or wait for a pass.", registry=own)
        waiting.set_function(lambda: judging.batcher.waiting)
        ready = Gauge("asd_serve_models_ready", "Models that can judge.", registry=own)
        ready.set_function(lambda: sum(each.model is not None for each in judging.models.served))
        own.register(_Listener(state))

    def passed(self, clips: int, seconds: float) -> None:
        """Note a pass of the batcher."""
        self.batch.observe(clips)
        self.passes.observe(seconds)

    def judged(self, model: str, result: Any) -> None:
        """Note what was said of a clip."""
        said = {True: "anomalous", False: "normal", None: "failed"}[result.anomalous]
        self.clips.labels(model, said).inc()

    def text(self) -> bytes:
        """Return what Prometheus reads."""
        return generate_latest(self.registry)


class _Listener:
    """What the listener of this process counts, asked for when Prometheus asks."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        plant = self._state.plant
        listener = None if plant is None else plant.listener
        if listener is None:
            return
        yield CounterMetricFamily("asd_listen_clips", "Clips that the listener judged.", listener.clips)
        yield GaugeMetricFamily(
            "asd_listen_latency_seconds", "Longest time from sound to verdict, in the last minute.", listener.latency
        )
        evidence = GaugeMetricFamily("asd_listen_evidence", "Evidence against a machine.", labels=["machine"])
        alarm = GaugeMetricFamily("asd_listen_alarm", "Whether an alarm stands.", labels=["machine"])
        for machine in list(listener.machines):
            if machine.status is not None:
                evidence.add_metric([machine.name], machine.status.evidence)
                alarm.add_metric([machine.name], float(machine.status.phase == "alarm"))
        yield evidence
        yield alarm

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the listener begins later."""
        return iter(())


class Counted:
    """Middleware that counts requests and measures how long each takes.

    Parameters
    ----------
    app : ASGI application
        What is surrounded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        judging = scope["app"].state.serve.judging if scope["type"] == "http" else None
        if judging is None:
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            # The path with its parameters' names: a client must not make as many series as it likes.
            path = getattr(scope.get("route"), "path", "other")
            judging.metrics.requests.labels(scope["method"][:10], path, str(status)).inc()
            judging.metrics.latency.labels(path).observe(time.perf_counter() - began)
