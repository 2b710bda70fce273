"""
Which failures of an origin are worth another attempt, and how long to wait before it.

Law: only failures that are transient by their shape; what the server says about waiting is honoured; the exception that
leaves is the origin's own. Cancellation, KeyboardInterrupt and SystemExit are no `Exception` and never come here.

The first attempt is made bare. Only after a transient failure is a tenacity Retrying made, a fresh one for each call
(``__iter__`` keeps its state on the object), whose first attempt fails with what was caught: a call that succeeds pays
nothing for retries, and attempts are still counted right.
"""

from __future__ import annotations

import math
import sys
from typing import Any

__all__ = ["retrying", "transient", "wait_asked"]

ATTEMPTS = 3
SHORTEST, LONGEST = 0.5, 30.0
_STATUSES = frozenset((408, 409, 425, 429))
#: Connection errors and time-outs carry no status and are known by class, never imported for it.
_CLASSES = (
    ("openai", "APIConnectionError"),
    ("anthropic", "APIConnectionError"),
    ("httpx", "TransportError"),
    ("httpx2", "TransportError"),
    ("asyncio", "TimeoutError"),  # another class than the builtin before Python 3.11
)


def _header(error: BaseException, name: str) -> str | None:
    headers = getattr(getattr(error, "response", None), "headers", None)
    value = headers.get(name) if headers is not None and hasattr(headers, "get") else None
    return value if isinstance(value, str) else None


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def wait_asked(error: BaseException) -> float | None:
    """Return the seconds that the server asked to wait, None where it did not: RFC 9110, section 10.2.3."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = _header(error, name)
        asked = None if text is None else _seconds(text, unit)
        if asked is not None:
            return asked
    return None


def _seconds(text: str, unit: float) -> float | None:
    try:
        asked = float(text) / unit
    except ValueError:
        return _until(text)
    return None if math.isnan(asked) else max(0.0, asked)


def _until(date: str) -> float | None:
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def transient(error: BaseException) -> bool:
    """Is this a failure that may be gone in a moment?"""
    try:
        return _transient(error)
    except Exception:  # an exception of foreign make, with properties that raise
        return False


def _transient(error: BaseException) -> bool:
    if not isinstance(error, Exception):
        return False
    if "insufficient_quota" in (getattr(error, "code", None), getattr(error, "type", None)):
        return False
    if (wait_asked(error) or 0.0) > LONGEST:
        return False
    said = _header(error, "x-should-retry")
    if said in ("true", "false"):
        return said == "true"
    status = _status(error)
    if status is not None:
        return status in _STATUSES or status >= 500
    return isinstance(error, (ConnectionError, TimeoutError, *_known_classes()))


def _known_classes() -> list[type]:
    found = (getattr(sys.modules.get(module), name, None) for module, name in _CLASSES)
    return [cls for cls in found if isinstance(cls, type)]


def retrying(option: Any, seconds: float, *, asynchronous: bool, sleep: Any) -> Any:
    """
    Return a fresh tenacity Retrying (AsyncRetrying where *asynchronous*).

    Args:
        option: True = 3 attempts; a number of attempts in all; or a Retrying to copy, whose own rules then stand.
        seconds: no attempt begins later, but by a Retrying's own rules.
        sleep: seconds -> None, a coroutine function where *asynchronous*.
    """
    import tenacity

    cls = tenacity.AsyncRetrying if asynchronous else tenacity.Retrying
    if option is not True and not isinstance(option, int):
        fields = ("stop", "wait", "retry", "before", "after", "before_sleep", "retry_error_cls", "retry_error_callback")
        kept = {name: getattr(option, name) for name in fields}
        own = option.sleep if isinstance(option, cls) else sleep
        return cls(**kept, sleep=own, reraise=True)
    return cls(
        stop=tenacity.stop_after_attempt(ATTEMPTS if option is True else option) | tenacity.stop_after_delay(seconds),
        wait=_wait,
        retry=tenacity.retry_if_exception(transient),
        sleep=sleep,
        reraise=True,
    )


def _wait(state: Any) -> float:
    """Wait as long as the server asked, else exponentially longer, with jitter, from 0.5 s to 30 s."""
    import tenacity

    asked = wait_asked(state.outcome.exception())
    if asked is not None:
        return asked
    return float(tenacity.wait_random_exponential(multiplier=SHORTEST, min=SHORTEST, max=LONGEST)(state))
