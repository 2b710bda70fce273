"""Metrics and spans for OpenTelemetry, by the conventions for generative AI."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aicached import Cache, Usage, ai_cached
from aicached.observe.otel import OpenTelemetryHook


class Seen:
    """Collect what is exported."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.hook = OpenTelemetryHook(
            tracer_provider=self.tracers, meter_provider=MeterProvider(metric_readers=[self.reader])
        )

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    def points(self, name):
        data = self.reader.get_metrics_data()
        found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name]
        return [point for metric in found for point in metric.data.data_points]


@pytest.fixture
def seen() -> Seen:
    return Seen()


def cached(seen: Seen, colour: str):
    def ask(prompt):
        if prompt == "fail":
            raise ValueError("the secret prompt")
        return prompt

    async def aask(prompt):
        return ask(prompt)

    usage = lambda value: Usage("small", 30, 20, 0.25)  # noqa: E731
    return ai_cached(cache=Cache("memory://", hooks=[seen.hook]), usage=usage)(ask if colour == "sync" else aask)


def test_a_call_of_the_origin_is_a_span_and_a_hit_is_none(colour, run, seen):
    ask = cached(seen, colour)
    for _ in range(3):
        run(ask("hi"))
    (span,) = seen.spans
    assert "chat small" == span.name
    assert trace.SpanKind.CLIENT == span.kind
    about = dict(span.attributes)
    assert about.pop("aicached.function").endswith("ask")
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.response.model": "small",
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.output_tokens": 20,
        "aicached.namespace": "default",
        "aicached.stored": True,
    } == about
    assert span.start_time < span.end_time


def test_the_span_belongs_to_what_the_caller_was_doing(colour, run, seen):
    ask = cached(seen, colour)
    with seen.tracers.get_tracer("test").start_as_current_span("request") as outer:
        run(ask("hi"))
    inner = next(span for span in seen.spans if span.name == "chat small")
    assert outer.get_span_context().span_id == inner.parent.span_id


def test_a_failure_is_a_span_with_its_type_and_without_its_text(colour, run, seen):
    ask = cached(seen, colour)
    with pytest.raises(ValueError, match="secret"):
        run(ask("fail"))
    (span,) = seen.spans
    assert ("chat", "ValueError") == (span.name, span.attributes["error.type"])
    assert trace.StatusCode.ERROR == span.status.status_code
    assert "secret" not in span.to_json()


def test_metrics_add_up(colour, run, seen):
    ask = cached(seen, colour)
    for prompt in ("a", "a", "a", "b"):
        run(ask(prompt))
    calls = {point.attributes["aicached.status"]: point.value for point in seen.points("aicached.calls")}
    assert {"hit": 2, "miss": 2} == calls
    assert [100] == [point.value for point in seen.points("aicached.saved.tokens")]
    assert [0.5] == [point.value for point in seen.points("aicached.saved.cost")]
    tokens = {p.attributes["gen_ai.token.type"]: p.sum for p in seen.points("gen_ai.client.token.usage")}
    assert {"input": 60, "output": 40} == tokens
    assert [2] == [point.count for point in seen.points("gen_ai.client.operation.duration")]
