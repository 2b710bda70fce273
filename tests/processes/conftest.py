"""Which of the tests of processes run by default: starting them takes longer than what they show."""

from __future__ import annotations

import pytest

#: Each behaviour runs in both colours and on both stores; the two other pairs with `make test-all`.
_BY_DEFAULT = {("sqlite", "sync"), ("redis", "async")}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        given = getattr(getattr(item, "callspec", None), "params", {})
        pair = given.get("url"), given.get("colour")
        if "tests/processes" in item.path.as_posix() and None not in pair and pair not in _BY_DEFAULT:
            item.add_marker("slow")
