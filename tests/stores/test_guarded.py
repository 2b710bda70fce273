"""The breaker: when it opens, who may try again, and what it says."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from aicached.errors import StoreError, StoreUnavailable, WriteRefused
from aicached.stores.base import Store
from aicached.stores.guarded import GuardedStore
from aicached.stores.memory import MemoryStore
from aicached.testing.clock import FakeClock
from aicached.testing.conformance import StoreConformance

KEY = b"v" + bytes(32)
MARK = b"t" + bytes(32)


class Patient(Store):
    """Fail with *error* while there is one; count how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self.asked = 0
        self.data: dict[bytes, Any] = {}

    @property
    def address(self) -> str:
        return "patient://"

    def _ask(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error

    def get(self, key: bytes) -> Any:
        self._ask()
        return self.data.get(key)

    def set(self, key: bytes, data: Any, lifetime: float | None) -> None:
        self._ask()
        self.data[key] = data

    def delete(self, key: bytes) -> None:
        self._ask()
        self.data.pop(key, None)

    def close(self) -> None:
        pass


OPERATIONS: dict[str, Callable[[Store], Any]] = {
    "get": lambda store: store.get(KEY),
    "get_many": lambda store: store.get_many([KEY]),
    "set": lambda store: store.set(KEY, b"x", 60),
    "delete": lambda store: store.delete(KEY),
    "stamps": lambda store: store.stamps([MARK]),
    "renew": lambda store: store.renew(MARK),
    "append": lambda store: store.append(b"n" + bytes(32), b"x", 60, 10),
    "read": lambda store: store.read(b"n" + bytes(32), 0, 10),
    "aget": lambda store: asyncio.run(store.aget(KEY)),
    "aget_many": lambda store: asyncio.run(store.aget_many([KEY])),
    "aset": lambda store: asyncio.run(store.aset(KEY, b"x", 60)),
    "adelete": lambda store: asyncio.run(store.adelete(KEY)),
    "astamps": lambda store: asyncio.run(store.astamps([MARK])),
    "arenew": lambda store: asyncio.run(store.arenew(MARK)),
    "aappend": lambda store: asyncio.run(store.aappend(b"n" + bytes(32), b"x", 60, 10)),
    "aread": lambda store: asyncio.run(store.aread(b"n" + bytes(32), 0, 10)),
}
each_operation = pytest.mark.parametrize("ask", OPERATIONS.values(), ids=OPERATIONS.keys())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def patient() -> Patient:
    return Patient()


@pytest.fixture
def guarded(patient: Patient, clock: FakeClock) -> GuardedStore:
    return GuardedStore(patient, clock=clock)


def fail(guarded: GuardedStore, times: int) -> None:
    for _ in range(times):
        with pytest.raises(StoreUnavailable):
            guarded.get(KEY)


class TestGuardedMemory(StoreConformance):
    def make_store(self) -> Store:
        self.clock = FakeClock()
        return GuardedStore(MemoryStore(clock=self.clock))

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestGuardedForeigner(StoreConformance):
    """A store of the plainest kind, which raises errors of its own."""

    def make_store(self) -> Store:
        self.clock = FakeClock()
        self.patient = Patient()
        return GuardedStore(self.patient)

    lifetime = 0.01

    def break_store(self, store: Store) -> None:
        self.patient.error = RuntimeError("what a third party raises")

    # It keeps no lifetimes.
    test_a_lifetime_passes = test_lifetimes_pass_in_async_code = None  # type: ignore[assignment]
    test_records_of_a_log_pass = test_sums_pass_and_begin_anew = None  # type: ignore[assignment]


@each_operation
def test_what_the_store_answers_is_what_it_gives(ask: Callable[[Store], Any], patient: Patient) -> None:
    patient.data = {KEY: b"value", MARK: b"0123456789abcdef"}
    twin = Patient()
    twin.data = dict(patient.data)
    assert ask(twin) == ask(GuardedStore(patient))
    assert twin.data.keys() == patient.data.keys()


@each_operation
def test_three_failures_in_a_row_open_it_for_every_operation(
    ask: Callable[[Store], Any], guarded: GuardedStore, patient: Patient
) -> None:
    patient.error = StoreUnavailable("gone")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="gone"):
            ask(guarded)
    assert not guarded.available
    asked, patient.error = patient.asked, None
    for other in OPERATIONS.values():
        with pytest.raises(StoreUnavailable, match="patient:// did not answer"):
            other(guarded)
    assert asked == patient.asked


def test_two_failures_and_a_success_do_not_open_it(guarded: GuardedStore, patient: Patient) -> None:
    for _ in range(5):
        patient.error = StoreUnavailable("gone")
        fail(guarded, 2)
        patient.error = None
        assert guarded.get(KEY) is None
    assert guarded.available


@pytest.mark.parametrize("error", [StoreError("no"), WriteRefused("full"), ValueError("x"), asyncio.CancelledError()])
def test_only_no_answer_counts(error: BaseException, guarded: GuardedStore, patient: Patient) -> None:
    patient.error = error
    for _ in range(10):
        with pytest.raises((StoreError, asyncio.CancelledError)):
            guarded.get(KEY)
    assert (True, 10) == (guarded.available, patient.asked)


def test_a_refusal_proves_that_the_store_lives(guarded: GuardedStore, patient: Patient) -> None:
    for error in (StoreUnavailable("gone"), StoreUnavailable("gone"), StoreError("no"), StoreUnavailable("gone")):
        patient.error = error
        with pytest.raises(StoreError):
            guarded.get(KEY)
    assert guarded.available


def test_it_tries_after_one_second_then_two_four_and_five(
    guarded: GuardedStore, patient: Patient, clock: FakeClock
) -> None:
    patient.error = StoreUnavailable("gone")
    fail(guarded, 3)
    for pause in (1.0, 2.0, 4.0, 5.0, 5.0):
        clock.advance(pause - 0.01)
        asked = patient.asked
        fail(guarded, 2)
        assert asked == patient.asked, f"it must wait {pause} s"
        clock.advance(0.02)
        fail(guarded, 2)
        assert asked + 1 == patient.asked, f"after {pause} s one caller tries"


def test_a_success_closes_it_and_the_pauses_begin_anew(
    guarded: GuardedStore, patient: Patient, clock: FakeClock
) -> None:
    for _ in range(2):
        patient.error = StoreUnavailable("gone")
        fail(guarded, 3)
        clock.advance(1.01)
        fail(guarded, 1)
        clock.advance(2.01)
        patient.error = None
        assert guarded.get(KEY) is None
        assert guarded.get(KEY) is None
        patient.error = StoreUnavailable("gone")
        fail(guarded, 2)
        assert guarded.available
        patient.error = None
        guarded.get(KEY)


def test_only_one_caller_tries_at_a_time(guarded: GuardedStore, patient: Patient, clock: FakeClock) -> None:
    patient.error = StoreUnavailable("gone")
    fail(guarded, 3)
    clock.advance(1.01)
    patient.error = None
    trying, finish = threading.Event(), threading.Event()
    original = patient.get

    def slowly(key: bytes) -> Any:
        trying.set()
        finish.wait(10)
        return original(key)

    patient.get = slowly  # type: ignore[method-assign]
    trial = threading.Thread(target=guarded.get, args=(KEY,))
    trial.start()
    trying.wait(10)
    asked = patient.asked
    for ask in OPERATIONS.values():
        with pytest.raises(StoreUnavailable, match="did not answer"):
            ask(guarded)
    assert asked == patient.asked
    finish.set()
    trial.join()
    assert guarded.available


def test_a_trial_that_never_ends_does_not_keep_it_open_for_ever(
    guarded: GuardedStore, patient: Patient, clock: FakeClock
) -> None:
    patient.error = StoreUnavailable("gone")
    fail(guarded, 3)
    clock.advance(1.01)
    guarded.breaker.enter()  # a caller that is never heard of again
    clock.advance(4.9)
    fail(guarded, 1)
    patient.error = None
    clock.advance(0.2)
    assert guarded.get(KEY) is None


def test_a_cancelled_trial_leaves_the_try_to_the_next(
    guarded: GuardedStore, patient: Patient, clock: FakeClock
) -> None:
    patient.error = StoreUnavailable("gone")
    fail(guarded, 3)
    clock.advance(1.01)
    patient.error = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        guarded.get(KEY)
    patient.error = None
    assert guarded.get(KEY) is None


def test_a_slow_success_from_before_does_not_close_it(guarded: GuardedStore, patient: Patient) -> None:
    early = guarded.breaker.enter()
    patient.error = StoreUnavailable("gone")
    fail(guarded, 3)
    with early:
        pass
    assert not guarded.available


def test_slow_failures_from_before_do_not_postpone_the_next_try(
    guarded: GuardedStore, patient: Patient, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    late = guarded.breaker.enter()
    patient.error = StoreUnavailable("gone")
    fail(guarded, 3)
    clock.advance(0.9)
    for _ in range(5):
        with pytest.raises(StoreUnavailable), late:
            raise StoreUnavailable("slow")
    patient.error = None
    clock.advance(0.2)
    assert guarded.get(KEY) is None
    assert 2 == len(caplog.records)


def test_each_change_of_state_is_said_once(
    guarded: GuardedStore, patient: Patient, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "aicached")
    patient.error = StoreUnavailable("patient://: refused")
    fail(guarded, 10)
    clock.advance(1.01)
    fail(guarded, 3)
    patient.error = None
    clock.advance(2.01)
    for _ in range(3):
        guarded.get(KEY)
    assert [
        ("WARNING", "store patient:// is unavailable (refused): calls go on without it"),
        ("WARNING", "store patient:// is available again"),
    ] == [(record.levelname, record.getMessage()) for record in caplog.records]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_full_store_pauses_writes_alone(
    asynchronous: bool, guarded: GuardedStore, patient: Patient, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    write = OPERATIONS["aset" if asynchronous else "set"]
    patient.error = WriteRefused("OOM")
    with pytest.raises(WriteRefused, match="OOM"):
        write(guarded)
    asked, patient.error = patient.asked, None
    with pytest.raises(WriteRefused, match="a moment ago"):
        write(guarded)
    assert asked == patient.asked
    assert guarded.get(KEY) is None
    guarded.renew(MARK)
    guarded.delete(KEY)
    assert asked + 3 == patient.asked
    clock.advance(1.01)
    write(guarded)
    assert guarded.get(KEY) == b"x"
    assert [
        "store patient:// takes no writes (OOM): reads go on",
        "store patient:// takes writes again",
    ] == [record.getMessage() for record in caplog.records]


def test_a_store_that_stays_full_is_asked_once_a_second_and_named_once(
    guarded: GuardedStore, patient: Patient, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    patient.error = WriteRefused("OOM")
    for _ in range(30):
        with pytest.raises(WriteRefused):
            guarded.set(KEY, b"x", 60)
        clock.advance(0.1001)
    assert 3 == patient.asked
    assert 1 == len(caplog.records)


@each_operation
def test_foreign_errors_become_store_errors_and_are_named_once_without_their_text(
    ask: Callable[[Store], Any], guarded: GuardedStore, patient: Patient, caplog: pytest.LogCaptureFixture
) -> None:
    patient.error = ZeroDivisionError("the secret prompt")
    for _ in range(3):
        with pytest.raises(StoreError) as caught:
            ask(guarded)
        assert type(caught.value) is StoreError
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert ["store patient:// raised ZeroDivisionError, which is no StoreError"] == [
        record.getMessage() for record in caplog.records
    ]


def test_interrupts_go_through_as_they_are(guarded: GuardedStore, patient: Patient) -> None:
    patient.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        guarded.get(KEY)


def test_closing_works_while_it_is_open(guarded: GuardedStore, patient: Patient) -> None:
    patient.error = StoreUnavailable("gone")
    fail(guarded, 3)
    guarded.close()
    asyncio.run(guarded.aclose())
    assert not guarded.available


def test_it_looks_like_the_store_behind_it() -> None:
    inner = MemoryStore(clock=lambda: 42.0)
    guarded = GuardedStore(inner)
    assert (inner.address, False, True, 42.0) == (guarded.address, guarded.blocking, guarded.opened, guarded.now())
