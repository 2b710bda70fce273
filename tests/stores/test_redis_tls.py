"""
Redis over TLS, with client certificates, with users.

The redis-server that the tests bring along is built without TLS, so a proxy ends it in front of the server, as stunnel
and the balancers of clouds do.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Iterator

import pytest
import redis

from aicached import Cache, ai_cached
from aicached.errors import StoreUnavailable
from aicached.stores.redis import RedisStore
from aicached.testing import ScriptedModel
from tests.certificates import Authority
from tests.door import Door
from tests.servers import RedisServer

KEY = b"v" + random.Random(1).randbytes(32)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def door(own_redis: RedisServer, authority: Authority) -> Iterator[Door]:
    with redis.Redis.from_url(own_redis.url) as client:
        client.execute_command("ACL SETUSER me on >s%cret ~* &* +@all")
        client.execute_command("ACL SETUSER default off")
    with Door(own_redis.port, authority.server()) as proxy:
        yield proxy
    gc.collect()


@pytest.fixture
def strict_door(own_redis: RedisServer, authority: Authority) -> Iterator[Door]:
    with Door(own_redis.port, authority.server(asks_clients=True)) as proxy:
        yield proxy
    gc.collect()


def both(store: RedisStore) -> None:
    async def asynchronous() -> None:
        assert [b"x", None] == await store.aget_many([KEY, KEY[:-1] + b"?"])
        await store.aset(KEY, bytes(100_000), 60)
        assert bytes(100_000) == await store.aget(KEY)
        await store.aclose()

    store.set(KEY, b"x", 60)
    assert b"x" == store.get(KEY)
    asyncio.run(asynchronous())
    assert bytes(100_000) == store.get(KEY)
    store.close()


def fails(store: RedisStore, what: str) -> None:
    for call in (lambda: store.get(KEY), lambda: asyncio.run(store.aget(KEY))):
        with pytest.raises(StoreUnavailable, match=what):
            call()
    store.close()


def test_a_user_with_a_password_over_tls(door, authority):
    both(RedisStore(f"rediss://me:s%25cret@localhost:{door.port}/0?ssl_ca_certs={authority.path}", timeout=5))


def test_a_server_of_an_unknown_authority_is_not_talked_to_and_the_error_says_what_to_do(door):
    fails(RedisStore(f"rediss://me:s%25cret@localhost:{door.port}/0", timeout=5), "ssl_ca_certs")


def test_a_client_with_a_certificate_is_let_in(strict_door, authority):
    certificate, key = authority.sign("client")
    options = f"ssl_ca_certs={authority.path}&ssl_certfile={certificate}&ssl_keyfile={key}"
    both(RedisStore(f"rediss://localhost:{strict_door.port}/0?{options}", timeout=5))


def test_a_client_without_one_is_not(strict_door, authority):
    fails(RedisStore(f"rediss://localhost:{strict_door.port}/0?ssl_ca_certs={authority.path}", timeout=5), "localhost")


def test_a_plain_connection_to_a_door_with_tls_is_an_outage(door):
    fails(RedisStore(f"redis://localhost:{door.port}/0", timeout=1), "localhost")


def test_a_cache_with_its_near_tier_over_tls(door, authority, colour, run):
    url = f"rediss://me:s%25cret@localhost:{door.port}/0?ssl_ca_certs={authority.path}"
    cache = Cache(url, near=True, timeout=5)
    model = ScriptedModel(["hi"])
    ask = ai_cached(model.function(colour), cache=cache)
    assert [["hi"]] * 4 == [run(ask("hi")) for _ in range(4)]
    assert 1 == model.calls
    assert cache.engine.store.kept.keys()
    cache.close()
