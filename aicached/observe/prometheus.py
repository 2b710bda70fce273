"""
Prometheus counters and histograms of what calls come to.

Law: labels are function, namespace and status alone: never an argument, a key or a scope, whose number has no bound.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from ..errors import ConfigurationError
from ..status import CacheStatus
from .outcome import outcome

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
except ImportError as error:
    raise ConfigurationError("aicached.observe.prometheus needs: pip install 'aicached[prometheus]'") from error

__all__ = ["PrometheusHook", "request_seconds"]

_LABELS = ("function", "namespace")
#: Seconds; a hit takes microseconds, a long answer minutes.
_BUCKETS = (0.00005, 0.0002, 0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class _Metrics:
    """Hold the metrics of one registry, which takes each name only once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(f"aicached_{name}", text, (*_LABELS, *more), registry=registry)

        def seconds(name: str, text: str) -> Histogram:
            labels = (*_LABELS, "status")
            return Histogram(f"aicached_{name}_seconds", text, labels, buckets=_BUCKETS, registry=registry)

        self.hits = counter("hits", "Calls answered from the cache, stale answers too.")
        self.misses = counter("misses", "Calls that were not, collapsed ones too.")
        self.bypassed = counter("bypassed", "Calls for which the cache was not consulted.")
        self.stale = counter("stale", "Hits on an answer that was no longer fresh.")
        self.collapsed = counter("collapsed", "Misses that waited for another caller's computation.")
        self.errors = counter("errors", "Failures of the origin or of the store.", "status")
        self.saved_tokens = counter("saved_tokens", "Tokens of answers that came from the cache.")
        self.saved_cost = counter("saved_cost_dollars", "Dollars that these answers had cost.")
        self.spent_tokens = counter("spent_tokens", "Tokens of answers that the origin gave.")
        self.spent_cost = counter("spent_cost_dollars", "Dollars that these answers cost.")
        self.call = seconds("call", "The whole call.")
        self.store = seconds("store", "What of it was spent on the store.")
        self.origin = seconds("origin", "What of it was spent on the origin.")
        self.request = Histogram(
            "aicached_http_request_seconds",
            "HTTP requests, by route and by what their calls came to.",
            ("path", "status"),
            buckets=_BUCKETS,
            registry=registry,
        )


_metrics: weakref.WeakKeyDictionary[CollectorRegistry, _Metrics] = weakref.WeakKeyDictionary()


_making = threading.RLock()


def _metrics_of(registry: CollectorRegistry) -> _Metrics:
    with _making:
        found = _metrics.get(registry)
        if found is None:
            found = _metrics[registry] = _Metrics(registry)
        return found


def request_seconds(registry: CollectorRegistry | None = None) -> Histogram:
    """Return the histogram of HTTP requests of a registry; None = the default one."""
    return _metrics_of(REGISTRY if registry is None else registry).request


class PrometheusHook:
    """
    Count calls for Prometheus: ``Cache(url, hooks=[PrometheusHook()])``.

    Any number of caches may share a registry, with one hook or with several.

    Args:
        registry: of prometheus-client.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.metrics = _metrics_of(registry)

    def __call__(self, status: CacheStatus) -> None:
        """Take in what happened to one call."""
        labels, word = (status.function, status.namespace), outcome(status)
        self._count(labels, word, status)
        self._time((*labels, word), status)

    def _count(self, labels: tuple[str, ...], word: str, status: CacheStatus) -> None:
        m = self.metrics
        total = m.hits if status.hit else m.bypassed if status.fwd == "bypass" else m.misses
        total.labels(*labels).inc()
        if word == "stale":
            m.stale.labels(*labels).inc()
        if status.collapsed:
            m.collapsed.labels(*labels).inc()
        if status.error is not None:
            m.errors.labels(*labels, "origin").inc()
        if (status.detail or "").startswith("store: "):
            m.errors.labels(*labels, "store").inc()
        if status.usage is not None and not status.collapsed:
            tokens, cost = (m.saved_tokens, m.saved_cost) if status.hit else (m.spent_tokens, m.spent_cost)
            tokens.labels(*labels).inc(status.usage.tokens)
            cost.labels(*labels).inc(status.usage.cost or 0.0)

    def _time(self, labels: tuple[str, ...], status: CacheStatus) -> None:
        m: Any = self.metrics
        m.call.labels(*labels).observe(status.seconds)
        if status.store_seconds:
            m.store.labels(*labels).observe(status.store_seconds)
        if status.origin_seconds:
            m.origin.labels(*labels).observe(status.origin_seconds)
