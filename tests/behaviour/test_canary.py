"""A canary in prompts, answers and credentials shows up nowhere but where its owner put it; see also `test_logs`."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import pickle
import re
import socketserver
import threading
import traceback
from contextvars import ContextVar

import anthropic
import openai
import pytest

from aicached import AICachedError, Cache, StoreError, UnkeyableArgument, Usage, ai_cached, current_call, scope, trace
from aicached.stores.memory import MemoryStore
from aicached.testing import Failure, FlakyStore, RateLimited, ScriptedModel

CANARY = "canary-9c41"
HELLO = [{"role": "user", "content": CANARY}]
TENANT: ContextVar[str] = ContextVar("tenant")


class Secretive:
    """Show the canary to whoever asks for its text, and have no content."""

    def __repr__(self):
        return CANARY

    __str__ = __repr__


@dataclasses.dataclass
class Talkative:
    """Have a content, in which the canary is."""

    text: str = CANARY


def told(record):
    """Give everything that a handler could make of a record."""
    raised = traceback.format_exception(*record.exc_info) if record.exc_info else ()
    return "".join([record.getMessage(), repr(record.args), repr(vars(record)), *raised])


@pytest.fixture(autouse=True)
def records(caplog):
    """After each test, look for the canary in every record of aicached's, and in what tenacity and asyncio say."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    for record in caplog.get_records("call"):
        if record.name.partition(".")[0] in ("aicached", "tenacity", "asyncio"):
            assert CANARY not in told(record), record.getMessage()


def fails(*_, **__):
    raise ValueError(CANARY)


def silent(*values):
    """See to it that none of these tells the canary."""
    for value in values:
        assert CANARY not in f"{value!r} {value!s}", type(value)


def said_by(error):
    """Give all that an exception tells, with what it was raised from, but for lines of source."""
    chain = []
    while error is not None:
        chain.append(f"{error!r} {error} {error.args} {vars(error)} {getattr(error, '__notes__', '')}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return " ".join(chain)


# What people print ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite", "redis"])
def any_cache(request, tmp_path):
    """Give a cache on each store; no arguments are kept."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    else:
        url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/a.db"
    with Cache(url, timeout=5) as cache:
        yield cache


def test_everything_that_can_be_printed_of_an_ordinary_call(any_cache, colour, run):
    hooked = []
    any_cache.hooks = (hooked.append,)
    ask = ai_cached(ScriptedModel([CANARY]).function(colour), cache=any_cache)
    with trace() as calls, scope(CANARY):
        for _ in range(2):
            run(ask(CANARY, model=CANARY, messages=HELLO))
        silent(run(ask.cache_explain(CANARY, model=CANARY, messages=HELLO)))
        silent(run(ask.cache_explain(CANARY, messages=[])))
    silent(any_cache, any_cache.engine, any_cache.store, ask, ask.cache_info(), ask.cache_key(CANARY), *calls, *hooked)
    assert [False, True] == [status.hit for status in calls]


def test_entries_are_listed_without_arguments(cache, colour, run):
    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=cache)
    with scope(CANARY):
        run(ask(CANARY, user=Talkative()))
    (info,) = cache.entries()
    silent(info)
    assert {} == info.arguments


def test_an_entry_that_is_being_replaced(redis_url, clock, colour, run):
    from aicached.stores.redis import RedisStore

    seen = []

    def ask(prompt):
        seen.append(current_call().stale)
        return CANARY

    async def aask(prompt):
        return ask(prompt)

    with Cache(RedisStore(redis_url, timeout=5, clock=clock)) as cache:
        cached = ai_cached(aask if colour == "async" else ask, cache=cache, ttl=9)
        run(cached(CANARY))
        clock.advance(10)
        run(cached(CANARY))
    silent(seen[1])
    assert "Entry" in repr(seen[1])


def test_a_method_and_what_it_is_bound_to(cache, colour, run):
    class Assistant(Secretive):
        def __cache_key__(self):
            return CANARY

        ask = ai_cached(ScriptedModel("x").function(colour), cache=cache, ignore=("prompt",))

    assert CANARY not in repr(Assistant().ask)  # its `str` is the method's own, as if it were not decorated
    silent(Assistant.ask)


def test_nothing_of_a_call_is_in_the_file(tmp_path, colour, run):
    """But for the answer, which is what the file is for; encrypted, not even that."""
    pytest.importorskip("cryptography")
    with Cache(f"sqlite:///{tmp_path}/a.db", timeout=5, encryption_keys=[b"k" * 32]) as cache:
        ask = ai_cached(ScriptedModel({CANARY: CANARY}).function(colour), cache=cache, tags=(CANARY,))
        with scope(CANARY):
            run(ask(CANARY, model=CANARY, messages=HELLO))
        assert 1 == ask.cache_info().stored
    written = b"".join(path.read_bytes() for path in tmp_path.glob("a.db*"))
    assert b"ac1" in written
    assert CANARY.encode() not in written


# Callbacks that raise, one after the other ----------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["cache_if", "ttl", "tags", "usage"])
def test_what_a_callback_raised_is_told_by_its_class(cache, colour, run, option):
    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=cache, **{option: fails})
    with trace() as calls:
        assert CANARY == run(ask(CANARY))
    silent(*calls, run(ask.cache_explain(CANARY)))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ttl", lambda answer: answer),
        ("tags", lambda *_, **__: [Secretive(), CANARY, 5]),
        ("tags", lambda *_, **__: CANARY),
        ("usage", lambda answer: answer),
        ("usage", lambda answer: Usage(Secretive(), CANARY, CANARY, CANARY)),
        ("usage", lambda answer: Usage(answer, 1, 1)),
        ("cache_if", lambda answer: Secretive()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_callback_returned_is_not_quoted(tmp_path, colour, run, option, value):
    with Cache(f"sqlite:///{tmp_path}/a.db", timeout=5) as cache:
        ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=cache, **{option: value})
        assert CANARY == run(ask(CANARY))


@pytest.mark.parametrize("what", ["ttl", "tags"])
def test_what_the_function_set_itself_is_not_quoted(tmp_path, colour, run, what):
    def ask(prompt):
        call = current_call()
        if what == "ttl":
            call.ttl = CANARY
        else:
            call.tags.add("\ud800" + CANARY)
            call.tags.add(CANARY)
        return CANARY

    async def aask(prompt):
        return ask(prompt)

    with Cache(f"sqlite:///{tmp_path}/a.db", timeout=5) as cache, trace() as calls:
        cached = ai_cached(aask if colour == "async" else ask, cache=cache)
        assert CANARY == run(cached(CANARY))
    silent(*calls)


def test_a_hook_that_raises(colour, run, warned):
    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=Cache("memory://", hooks=[fails]))
    assert CANARY == run(ask(CANARY))
    assert ["a hook raised ValueError"] == warned()


@pytest.mark.parametrize("option", ["key", "scope", "normalize"])
def test_what_key_and_scope_raise_is_the_users_own(cache, colour, run, option):
    """It is raised as it is, and logged nowhere."""
    value = {"prompt": fails} if option == "normalize" else fails
    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=cache, **{option: value})
    with pytest.raises(ValueError, match=CANARY) as caught:
        run(ask(CANARY))
    assert not isinstance(caught.value, AICachedError)


def test_a_key_of_your_own_without_a_content(cache, colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache, key=lambda prompt: [prompt, Secretive()])
    with pytest.raises(UnkeyableArgument) as caught:
        run(ask(CANARY))
    assert CANARY not in said_by(caught.value)


def test_what_the_key_of_a_class_raises_is_logged_nowhere(cache, colour, run):
    class Odd:
        __cache_key__ = fails

    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    with pytest.raises(ValueError, match=CANARY):
        run(ask(Odd()))


# Arguments and answers that cannot be used ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argument",
    [
        [{"role": CANARY, "content": [CANARY, {CANARY: Secretive()}]}],
        {(CANARY, 1): Secretive()},
        {CANARY, (CANARY, Secretive())},
        Talkative(Secretive()),
        (value for value in CANARY),
        threading.Lock(),
    ],
    ids=["messages", "dict", "set", "dataclass", "generator", "lock"],
)
def test_an_argument_without_a_content_is_named_by_its_place(cache, colour, run, argument):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    with pytest.raises(UnkeyableArgument) as caught, scope(CANARY):
        run(ask(argument, system=CANARY))
    assert CANARY not in said_by(caught.value)
    for method in (ask.cache_explain, ask.cache_contains, ask.cache_invalidate, ask.cache_refresh):
        with pytest.raises(UnkeyableArgument) as caught:
            run(method(argument, system=CANARY))
        assert CANARY not in said_by(caught.value)


def test_an_argument_in_a_circle(cache, colour, run):
    circle = [CANARY]
    circle.append(circle)
    ask = ai_cached(ScriptedModel("x").function(colour), cache=cache)
    with pytest.raises(UnkeyableArgument) as caught:
        run(ask(circle))
    assert CANARY not in said_by(caught.value)


class Foreign:
    """Fail, and tell the canary, at whatever is asked of it."""

    def __init__(self):
        self.text = CANARY

    def __getattr__(self, name):
        raise AttributeError(CANARY)

    __eq__ = __len__ = __iter__ = fails
    __hash__ = None
    __repr__ = __str__ = fails


@pytest.mark.parametrize(
    "answer",
    [
        Foreign(),
        [CANARY, Foreign()],
        {CANARY: Foreign()},
        Talkative(Foreign()),
        {"object": "chat.completion", "choices": [Foreign()]},
        map(str, CANARY),
        ValueError(CANARY),
        type(CANARY, (), {})(),
    ],
    ids=["bare", "list", "dict", "dataclass", "chat", "iterator", "exception", "class name"],
)
def test_an_answer_that_cannot_be_stored(any_cache, colour, run, answer, warned):
    """The name of a class is all that is told of it, and that is no prompt."""
    if type(answer).__name__ == CANARY:
        type(answer).__name__ = type(answer).__qualname__ = "Plain"

    def ask(prompt):
        return answer

    async def aask(prompt):
        return answer

    cached = ai_cached(aask if colour == "async" else ask, cache=any_cache, version=1)
    with trace() as calls:
        assert answer is run(cached(CANARY))
    silent(*calls)
    assert 0 == cached.cache_info().stored
    assert 1 >= len(warned())


def test_an_answer_that_is_too_large(colour, run):
    ask = ai_cached(ScriptedModel(CANARY * 100).function(colour), cache=Cache("memory://", max_value_bytes=100))
    with trace() as calls:
        run(ask(CANARY))
    assert "too large" == calls[0].detail


@pytest.mark.parametrize(
    "data", [CANARY.encode(), pickle.dumps(CANARY), b"", b"\x00" * 200, CANARY.encode() * 50], ids=len
)
def test_bytes_that_somebody_else_wrote(colour, run, data):
    class Bytes(MemoryStore):
        opened = False

    cache = Cache(Bytes())
    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=cache)
    run(ask(CANARY))
    cache.store.set(b"v" + bytes.fromhex(ask.cache_key(CANARY)), data, None)
    with trace() as calls:
        silent(run(ask.cache_explain(CANARY)))
        run(ask(CANARY))
    assert "damaged" == calls[0].detail
    silent(*calls)


def test_an_entry_whose_class_may_not_be_made(colour, run):
    def ask(prompt):
        return Talkative()

    async def aask(prompt):
        return Talkative()

    function, store = aask if colour == "async" else ask, MemoryStore()
    run(ai_cached(function, cache=Cache(store, trust=[Talkative]))(CANARY))
    ask = ai_cached(function, cache=Cache(store))
    found = run(ask.cache_explain(CANARY))
    assert found.reason.startswith("its entry cannot be used: undecodable")
    with trace() as calls:
        run(ask(CANARY))
    silent(found, *calls)


# Stores ---------------------------------------------------------------------------------------------------------------


class Gossip(socketserver.ThreadingTCPServer):
    """Answer every command of Redis's protocol with an error that quotes what it was sent."""

    daemon_threads = allow_reuse_address = True

    class RequestHandlerClass(socketserver.StreamRequestHandler):
        def handle(self):
            while self.rfile.readline():
                self.wfile.write(f"-ERR unknown command, with args beginning with: '{CANARY}'\r\n".encode())

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.RequestHandlerClass)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def test_a_server_that_quotes_what_it_was_sent(colour, run):
    with Gossip() as server, Cache(f"redis://user:{CANARY}@127.0.0.1:{server.server_address[1]}/0") as cache:
        ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=cache)
        with trace() as calls:
            for n in range(5):
                assert CANARY == run(ask(f"{CANARY} {n}"))
        silent(*calls, cache, run(ask.cache_explain(CANARY)))
        run(ask.cache_clear())
        run(ask.cache_invalidate(CANARY))
        with pytest.raises(StoreError) as caught:
            cache.entries()
        assert CANARY not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize("down", ["killed", "refusing"])
def test_the_password_of_a_redis_in_trouble(own_redis, colour, run, down):
    if down == "killed":
        own_redis.kill()
    with Cache(own_redis.url.replace("redis://", f"redis://{CANARY}:{CANARY}@")) as cache:
        ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=cache)
        with trace() as calls:
            run(ask(CANARY))
        silent(*calls, cache, cache.store, run(ask.cache_explain(CANARY)))
        with pytest.raises(StoreError) as caught:
            cache.entries()
        assert CANARY not in f"{caught.value!r} {caught.value}"


def test_a_store_that_fails_at_each_step(colour, run):
    for verb in ("get_many", "stamps", "set", "delete", "renew", "append", "read", "keys"):
        store = MemoryStore()
        store.opened, store.blocking = False, True
        setattr(store, verb, fails)
        cache = Cache(store)
        ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=cache)
        with trace() as calls:
            for _ in range(2):
                assert CANARY == run(ask(CANARY))
        silent(*calls, run(ask.cache_explain("other")))
        run(ask.cache_invalidate(CANARY))
        run(ask.cache_clear())
    with pytest.raises(StoreError) as caught:
        cache.entries()
    assert CANARY not in f"{caught.value!r} {caught.value}"


def test_a_store_that_goes_and_comes_back(colour, run, warned):
    store = FlakyStore(MemoryStore(), fail=0.5)
    store.blocking = True
    ask = ai_cached(ScriptedModel().function(colour), cache=Cache(store))
    with trace() as calls:
        for n in range(30):
            run(ask(f"{CANARY} {n % 3}"))
    silent(*calls)


# The origin's failures ------------------------------------------------------------------------------------------------


def test_an_exception_with_the_prompt_in_it_is_the_callers_alone(cache, colour, run, waits):
    class Chatty(RateLimited):
        def __str__(self):
            return CANARY

    raised = Chatty(0)
    ask = ai_cached(ScriptedModel(raised).function(colour), cache=cache)
    with trace() as calls, pytest.raises(Chatty, match=CANARY):
        run(ask(CANARY))
    assert 2 == len(waits)
    silent(*calls)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_an_sdks_error_and_its_credentials(server, cache, waits, status):
    server.fail_every, server.failure = 1, Failure(status, code=CANARY)
    headers = {"X-Secret": CANARY, "X-Api-Key": CANARY, "Authorization": f"Bearer {CANARY}"}
    with openai.OpenAI(base_url=server.url, api_key=CANARY, max_retries=0, default_headers=headers) as client:
        create = ai_cached(client.chat.completions.create, cache=cache)
        with trace() as calls, pytest.raises(openai.APIStatusError):
            create(model="small", messages=HELLO)
        silent(*calls, create, create.cache_info())
    with anthropic.Anthropic(base_url=server.root, api_key=CANARY, max_retries=0) as claude:
        create = ai_cached(claude.messages.create, cache=cache)
        with trace() as calls, pytest.raises(anthropic.APIStatusError):
            create(model="small", messages=HELLO, max_tokens=5)
        silent(*calls, create)


def test_credentials_of_a_client_are_nowhere_in_an_entry(server, tmp_path):
    """Neither in the file, nor in what explains a call."""
    headers = {"X-Api-Key": CANARY, "Cookie": CANARY}
    with Cache(f"sqlite:///{tmp_path}/a.db", timeout=5, keep_arguments=True) as cache:
        for key in (CANARY, f"another-{CANARY}"):
            with openai.OpenAI(base_url=server.url, api_key=key, max_retries=0, default_headers=headers) as client:
                create = ai_cached(client.chat.completions.create, cache=cache)
                create(model="small", messages=[{"role": "user", "content": "Hello?"}])
                silent(create.cache_explain(model="large", messages=[]))
        assert 1 == server.calls
    written = b"".join(path.read_bytes() for path in tmp_path.glob("a.db*"))
    assert b"Hello?" in written
    assert CANARY.encode() not in written


def test_a_waiter_gets_the_failure_and_the_log_does_not(cache):
    """A flight that fails hands a clone to everybody, which is theirs as the original is."""

    async def ask(prompt):
        await asyncio.sleep(0.01)
        raise ValueError(prompt)

    cached = ai_cached(ask, cache=cache, retry=False)

    async def main():
        return await asyncio.gather(*(cached(CANARY) for _ in range(3)), return_exceptions=True)

    with trace() as calls:
        assert [CANARY] * 3 == [str(error) for error in asyncio.run(main())]
    silent(*calls)


def test_a_call_that_is_cancelled(cache):
    async def ask(prompt):
        await asyncio.sleep(10)

    async def main():
        task = asyncio.ensure_future(ai_cached(ask, cache=cache)(CANARY))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


# Warnings -------------------------------------------------------------------------------------------------------------


def test_the_warning_after_50_misses(cache, colour, run, warned):
    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=cache)
    with scope(CANARY):
        for n in range(60):
            run(ask(f"{CANARY} {n}", messages=[*HELLO, n], user=Talkative(f"{CANARY} {n}")))
    (warning,) = warned()
    assert "ignore=('prompt', 'messages', 'user')" in warning


def test_two_functions_of_one_factory(cache, colour, run, warned):
    def make(secrets):
        def ask(prompt):
            return secrets and prompt

        async def aask(prompt):
            return secrets and prompt

        return ai_cached(aask if colour == "async" else ask, cache=cache)

    for secrets in ([CANARY], [CANARY, CANARY]):
        run(make(secrets)(CANARY))
    (warning,) = warned()
    assert "'secrets', which is a list" in warning


def test_a_function_that_returns_something_to_await(cache, warned):
    async def later(prompt):
        return prompt

    ask = ai_cached(lambda prompt: later(prompt), cache=cache)
    assert CANARY == asyncio.run(ask(CANARY))
    assert 1 == len(warned())


def test_a_call_without_a_scope(colour, run, warned):
    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=Cache("memory://"), scope=TENANT)
    with trace() as calls:
        run(ask(CANARY))
    silent(*calls)
    assert 1 == len(warned())


def test_no_secret_is_logged_with_everything_that_is_logged(cache, colour, run, records):
    """A hit and a miss log nothing at all, at any level."""
    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=cache)
    for _ in range(2):
        run(ask(CANARY))
    assert [] == [record for record in records.records if re.match("aicached|tenacity", record.name)]
