"""
OpenTelemetry: metrics of all calls, and a span for each call of an origin, by the conventions for generative AI.

Law: nothing of what was asked or answered is an attribute. The span is written when the call has ended, with the times
that the call took; so spans that the origin made itself stand beside it, not below it.

Conventions: https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from __future__ import annotations

import time
from typing import Any

from ..errors import ConfigurationError
from ..status import CacheStatus
from .outcome import outcome

try:
    from opentelemetry import metrics, trace
except ImportError as error:
    raise ConfigurationError("aicached.observe.otel needs: pip install 'aicached[otel]'") from error

__all__ = ["OpenTelemetryHook"]


class OpenTelemetryHook:
    """
    Show calls to OpenTelemetry: ``Cache(url, hooks=[OpenTelemetryHook()])``.

    Args:
        operation: ``gen_ai.operation.name``: ``"chat"``, ``"embeddings"``, ``"text_completion"``.
        tracer_provider, meter_provider: None = the global ones.
    """

    def __init__(self, operation: str = "chat", *, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        self.operation = operation
        self.tracer = trace.get_tracer("aicached", tracer_provider=tracer_provider)
        meter = metrics.get_meter("aicached", meter_provider=meter_provider)
        self.calls = meter.create_counter("aicached.calls", "{call}", "Calls, by what they came to.")
        self.saved_tokens = meter.create_counter("aicached.saved.tokens", "{token}", "Tokens that hits saved.")
        self.saved_cost = meter.create_counter("aicached.saved.cost", "USD", "Dollars that hits saved.")
        self.seconds = meter.create_histogram("aicached.call.duration", "s", "The whole call.")
        self.store_seconds = meter.create_histogram("aicached.store.duration", "s", "What of it the store took.")
        self.origin_seconds = meter.create_histogram("gen_ai.client.operation.duration", "s", "Calls of an origin.")
        self.tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}", "Tokens of an origin's answers.")

    def __call__(self, status: CacheStatus) -> None:
        """Take in what happened to one call."""
        about = {"aicached.function": status.function, "aicached.namespace": status.namespace}
        labels = {**about, "aicached.status": outcome(status)}
        self.calls.add(1, labels)
        self.seconds.record(status.seconds, labels)
        if status.store_seconds:
            self.store_seconds.record(status.store_seconds, labels)
        if status.hit and status.usage is not None:
            self.saved_tokens.add(status.usage.tokens, about)
            self.saved_cost.add(status.usage.cost or 0.0, about)
        if status.origin_seconds:
            self._origin(status, about)

    def _origin(self, status: CacheStatus, about: dict[str, Any]) -> None:
        """Record a call of the origin: how long, how many tokens, and its span."""
        usage = status.usage
        model = {} if usage is None or usage.model is None else {"gen_ai.response.model": usage.model}
        failed = {} if status.error is None else {"error.type": status.error}
        common = {"gen_ai.operation.name": self.operation, **model, **failed}
        self.origin_seconds.record(status.origin_seconds, common)
        used: dict[str, Any] = {}
        if usage is not None:
            for kind, tokens in (("input", usage.tokens_in), ("output", usage.tokens_out)):
                self.tokens.record(tokens, {**common, "gen_ai.token.type": kind})
                used[f"gen_ai.usage.{kind}_tokens"] = tokens
        now = time.time_ns()
        span = self.tracer.start_span(
            f"{self.operation} {usage.model}" if model and usage is not None else self.operation,
            kind=trace.SpanKind.CLIENT,
            attributes={**common, **used, **about, "aicached.stored": status.stored},
            start_time=now - int(status.origin_seconds * 1e9),
        )
        if status.error is not None:
            span.set_status(trace.StatusCode.ERROR)
        span.end(now)
