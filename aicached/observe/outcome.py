"""
One word for what a call came to, the same in metrics, spans and dashboards.

Law: there are six, and none of them says what was asked.
"""

from __future__ import annotations

from ..status import CacheStatus

__all__ = ["OUTCOMES", "outcome"]

OUTCOMES = ("hit", "stale", "miss", "collapsed", "bypass", "error")


def outcome(status: CacheStatus) -> str:
    """Return the word: an origin that raised is an error, whatever else there is to say."""
    if status.error is not None:
        return "error"
    if status.hit:
        return "stale" if status.ttl is not None and status.ttl < 0 else "hit"
    if status.collapsed:
        return "collapsed"
    return "bypass" if status.fwd == "bypass" else "miss"
