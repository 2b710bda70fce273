"""Fixtures of the tests of keys."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def impatient() -> Iterator[None]:
    """Switch threads as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
