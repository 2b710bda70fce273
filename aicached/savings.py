"""
What an answer cost, and what a cache saves: tokens from the answer's own usage, dollars from prices.

Law: a usage that cannot be told is None, never an error and never a guess. Prices that the user gave come first, then
those of the genai-prices package where it is installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from . import providers
from .errors import ConfigurationError
from .status import Usage

__all__ = ["Prices", "Savings", "calculate_savings", "checked_prices", "usage_of"]

#: model -> dollars per million tokens in, and out
Prices = Mapping[str, tuple[float, float]]


class Savings(NamedTuple):
    """
    Say what hits saved.

    Args:
        calls: how many hits there were.
        tokens: in and out together; tokens_in, tokens_out: each of them.
        cost: dollars.
        seconds: that the origin would have taken.
    """

    calls: int = 0
    tokens: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    seconds: float = 0.0


def calculate_savings(
    requests_per_day: int,
    cache_hit_rate: float,
    api_cost_per_1k_tokens: float = 0.003,
    avg_tokens_per_request: float = 500,
) -> dict[str, Any]:
    """
    Say what a cache would save, for planning; a month has 30 days.

    Args:
        requests_per_day: how many calls there are.
        cache_hit_rate: share of them that are hits, 0 to 1.
        api_cost_per_1k_tokens: dollars.
        avg_tokens_per_request: in and out together.

    Raises:
        ValueError: a rate outside 0 to 1, or a negative number.
    """
    given = {
        "requests_per_day": requests_per_day,
        "cache_hit_rate": cache_hit_rate,
        "api_cost_per_1k_tokens": api_cost_per_1k_tokens,
        "avg_tokens_per_request": avg_tokens_per_request,
    }
    for name, number in given.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < math.inf:
            raise ValueError(f"{name}: it takes a number, 0 or more, not {number!r}")
    if cache_hit_rate > 1:
        raise ValueError(f"cache_hit_rate: it takes a share from 0 to 1, not {cache_hit_rate!r}")
    raw = requests_per_day * avg_tokens_per_request / 1000 * api_cost_per_1k_tokens
    return {
        "requests": requests_per_day,
        "cache_hit_rate": f"{cache_hit_rate:.1%}",
        "daily_cost": f"${raw * (1 - cache_hit_rate):.2f}",
        "daily_savings": f"${raw * cache_hit_rate:.2f}",
        "monthly_savings": f"${raw * cache_hit_rate * 30:.2f}",
    }


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
    if usage.cost is not None or not usage.model:
        return usage
    price = prices.get(usage.model)
    if price is None:
        cost = _listed_cost(usage)
    else:
        cost = (usage.tokens_in * price[0] + usage.tokens_out * price[1]) / 1e6
    return usage if cost is None else usage._replace(cost=cost)


def _listed_cost(usage: Usage) -> float | None:
    """Return what genai-prices says, None where it is not installed or does not know the model."""
    listed = _price_list()
    if listed is None or usage.model in _unlisted:
        return None
    tokens = listed.Usage(input_tokens=usage.tokens_in, output_tokens=usage.tokens_out)
    try:
        return float(listed.calc_price(tokens, model_ref=usage.model).total_price)
    except LookupError:  # a model of somebody's own
        if len(_unlisted) < _UNLISTED:
            _unlisted.add(usage.model)
        return None
    except Exception:  # a price with conditions that cannot be met
        return None


#: Models that the price list does not know: to look for them takes long.
_unlisted: set[str | None] = set()
_UNLISTED = 1000


@cache
def _price_list() -> Any:
    try:
        import genai_prices
    except ImportError:
        return None
    return genai_prices
