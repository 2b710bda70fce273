"""
What an answer cost: tokens from its own usage, dollars from the prices that the user gave.

Law: a usage that cannot be told is None, never an error and never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import providers
from .errors import ConfigurationError
from .status import Usage

__all__ = ["Prices", "checked_prices", "usage_of"]

#: model -> dollars per million tokens in, and out
Prices = Mapping[str, tuple[float, float]]


def checked_prices(prices: Any) -> Prices:
    """Return *prices*, or say what they should look like."""
    well = isinstance(prices, Mapping) and all(
        isinstance(model, str) and isinstance(pair, (tuple, list)) and len(pair) == 2 and all(map(_is_price, pair))
        for model, pair in prices.items()
    )
    if not well:
        raise ConfigurationError(
            'prices: it takes {"model": (dollars per million tokens in, dollars per million tokens out)}'
        )
    return prices  # type: ignore[no-any-return]


def _is_price(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def usage_of(value: Any, seen: Any, own: Callable[[Any], Any] | None, prices: Prices) -> Usage | None:
    """
    Return what *value* cost, None where nobody knows.

    Args:
        seen: the provider's answer that the origin showed; None where it did not.
        own: the policy's ``usage``; it is asked alone where it is set.

    Raises:
        Exception: whatever *own* raises.
    """
    if own is not None:
        usage = own(value)
        if usage is not None and not isinstance(usage, Usage):
            raise TypeError(f"usage= returned a {type(usage).__name__}; it returns a Usage, or None")
    else:
        answer = value if seen is None else seen
        provider = providers.of_answer(answer)
        usage = None if provider is None else provider.usage(answer)
    return None if usage is None else _priced(usage, prices)


def _priced(usage: Usage, prices: Prices) -> Usage:
    price = prices.get(usage.model or "")
    if usage.cost is not None or price is None:
        return usage
    return usage._replace(cost=(usage.tokens_in * price[0] + usage.tokens_out * price[1]) / 1e6)
