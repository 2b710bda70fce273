"""Metrics for Prometheus: names, labels, and figures that agree with what happened."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from aicached import Cache, CacheStatus, Usage, ai_cached, mode
from aicached.errors import StoreUnavailable
from aicached.observe.outcome import OUTCOMES, outcome
from aicached.observe.prometheus import PrometheusHook
from aicached.stores.memory import MemoryStore
from aicached.testing import FlakyStore

ROOT = Path(__file__).parents[2]
LABELS = {"function": "app:ask", "namespace": "default"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def cached(cache: Cache, colour: str, **options):
    def ask(prompt):
        if prompt == "fail":
            raise ValueError(prompt)
        return prompt

    async def aask(prompt):
        return ask(prompt)

    function = ask if colour == "sync" else aask
    function.__module__, function.__qualname__ = "app", "ask"
    return ai_cached(cache=cache, usage=lambda value: Usage("small", 30, 20, 0.25), **options)(function)


def test_the_counters_agree_with_what_happened(colour, run, registry):
    ask = cached(Cache("memory://", hooks=[PrometheusHook(registry)]), colour)
    for prompt in ("a", "a", "a", "b"):
        run(ask(prompt))
    with pytest.raises(ValueError, match="fail"):
        run(ask("fail"))
    with mode("off"):
        run(ask("a"))
    expected = {
        "hits": 2,
        "misses": 3,
        "bypassed": 1,
        "saved_tokens": 100,
        "saved_cost_dollars": 0.5,
        "spent_tokens": 100,
        "spent_cost_dollars": 0.5,
    }
    assert expected == {name: registry.get_sample_value(f"aicached_{name}_total", LABELS) for name in expected}
    assert 1 == registry.get_sample_value("aicached_errors_total", {**LABELS, "status": "origin"})
    count = lambda name, word: registry.get_sample_value(  # noqa: E731
        f"aicached_{name}_seconds_count", {**LABELS, "status": word}
    )
    assert (2, 2, 1, 1) == tuple(count("call", word) for word in ("hit", "miss", "error", "bypass"))
    assert (None, 2, 1, 1) == tuple(count("origin", word) for word in ("hit", "miss", "error", "bypass"))
    assert (2, 2) == tuple(count("store", word) for word in ("hit", "miss"))


def test_a_store_in_trouble_is_counted_as_an_error(colour, run, registry):
    store = FlakyStore(MemoryStore())
    ask = cached(Cache(store, hooks=[PrometheusHook(registry)]), colour)
    store.always_fail()
    assert "a" == run(ask("a"))
    assert 1 == registry.get_sample_value("aicached_errors_total", {**LABELS, "status": "store"})
    assert StoreUnavailable.__name__ in "".join(_details(run, ask))


def _details(run, ask):
    from aicached import trace

    with trace() as calls:
        run(ask("a"))
    return [call.detail or "" for call in calls]


def test_two_caches_may_share_a_registry(registry):
    for namespace in ("one", "two"):
        cached(Cache("memory://", namespace=namespace, hooks=[PrometheusHook(registry)]), "sync")("a")
    for namespace in ("one", "two"):
        labels = {"function": "app:ask", "namespace": namespace}
        assert 1 == registry.get_sample_value("aicached_misses_total", labels)


def test_no_label_says_what_was_asked(registry):
    cached(Cache("memory://", hooks=[PrometheusHook(registry)]), "sync")("a secret prompt")
    exported = generate_latest(registry).decode()
    assert "secret" not in exported
    assert {"function", "namespace", "status", "path", "le"} >= set(re.findall(r"[{,](\w+)=", exported))


def statuses():
    about = {"function": "app:ask", "namespace": "default"}
    return {
        "hit": CacheStatus(**about, hit=True, ttl=5.0, store_seconds=0.1, usage=Usage("small", 1, 1, 0.1)),
        "stale": CacheStatus(**about, hit=True, ttl=-5.0),
        "miss": CacheStatus(**about, hit=False, fwd="uri-miss", origin_seconds=1.0, usage=Usage("small", 1, 1, 0.1)),
        "collapsed": CacheStatus(**about, hit=False, fwd="uri-miss", collapsed=True),
        "bypass": CacheStatus(**about, hit=False, fwd="bypass"),
        "error": CacheStatus(**about, hit=False, fwd="uri-miss", error="ValueError"),
    }


def test_each_outcome_has_its_word(registry):
    assert set(OUTCOMES) == set(statuses())
    assert list(statuses()) == [outcome(status) for status in statuses().values()]
    hook = PrometheusHook(registry)
    for status in statuses().values():
        hook(status)
    for name, number in {"hits": 2, "stale": 1, "misses": 3, "collapsed": 1, "bypassed": 1}.items():
        assert number == registry.get_sample_value(f"aicached_{name}_total", LABELS), name


def test_promtool_finds_nothing_to_say_where_there_is_one(registry):
    hook = PrometheusHook(registry)
    for status in statuses().values():
        hook(status)
    exported = generate_latest(registry)
    promtool = shutil.which("promtool")
    if promtool is not None:
        done = subprocess.run([promtool, "check", "metrics"], input=exported, capture_output=True)
        assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)
    # What it asks for, elsewhere too: help and type for each, base units, counters that end in _total.
    for name, kind in re.findall(r"# TYPE (\w+) (\w+)", exported.decode()):
        if name.endswith("_created"):
            continue
        assert f"# HELP {name} " in exported.decode()
        assert kind in {"counter", "histogram"}
        assert name.endswith("_total" if kind == "counter" else "_seconds"), name


def test_the_dashboard_asks_for_what_is_exported(registry):
    hook = PrometheusHook(registry)
    for status in statuses().values():
        hook(status)
    from aicached.observe.prometheus import request_seconds

    request_seconds(registry).labels("/ask", "hit").observe(0.1)
    exported = generate_latest(registry).decode()
    samples = {line.split("{")[0].split(" ")[0]: line for line in exported.splitlines() if not line.startswith("#")}
    dashboard = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(queries) >= 8
    for query in queries:
        names = re.findall(r"\baicached_\w+", query)
        assert names, query
        for name in names:
            assert name in samples, (name, query)
        used = re.findall(r"by \(([\w, ]+)\)", query) + re.findall(r"[{,]\s*(\w+)\s*=~?", query)
        labels = {label.strip() for group in used for label in group.split(",")}
        assert labels <= set(re.findall(r"(\w+)=", samples[names[0]])) | {"le"}, query


def test_without_the_package_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['prometheus_client'] = None; sys.modules['opentelemetry'] = None\n"
        "from aicached import ConfigurationError\n"
        "for name in ('prometheus', 'otel'):\n"
        "    try: __import__(f'aicached.observe.{name}')\n"
        "    except ConfigurationError as error: print(error)\n"
        "from aicached.observe.asgi import CacheStatusMiddleware\n"
        "print(CacheStatusMiddleware(None).seconds)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert ["aicached[prometheus]" in line for line in done.stdout.splitlines()] == [True, False, False], done.stderr
    assert "aicached[otel]" in done.stdout
    assert done.stdout.endswith("None\n")
