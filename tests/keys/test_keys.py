"""A call's key: what is in it, what it is called, and what is said where there is none."""

from __future__ import annotations

import dataclasses
import os
import re
import threading
import types
from contextvars import ContextVar
from typing import Any

import pydantic
import pytest

from aicached import UnkeyableArgument
from aicached.context import Ambient
from aicached.keys import naming
from aicached.keys.keyer import Keyer, stamp_key
from aicached.keys.naming import identity, main_name
from aicached.policy import Policy
from tests.keys.calls import call, key, keyer, module, python


def ask(prompt, *, model="small", messages=(), **options):
    pass


# What is in a key ----------------------------------------------------------------------------------------------------


def test_namespace_function_version_scope_and_sample_count():
    other = module("def ask(prompt, *, model='small', messages=(), **options): pass", name="another").ask
    made = keyer(ask)
    keys = [
        call(made, "hi"),
        call(Keyer(ask, Policy(), "another namespace"), "hi"),
        call(keyer(other), "hi"),
        call(keyer(ask, version="1"), "hi"),
        call(keyer(ask, version=1), "hi"),
        made.key(None, ("hi",), {}, ("a",), 0)[1],
        made.key(None, ("hi",), {}, ("b",), 0)[1],
        made.key(None, ("hi",), {}, ("a", "b"), 0)[1],
        made.key(None, ("hi",), {}, ("a b",), 0)[1],
        made.key(None, ("hi",), {}, (), 1)[1],
        made.key(None, ("hi",), {}, (), 2)[1],
    ]
    assert len(set(keys)) == len(keys)


def test_a_key_is_32_bytes_and_the_same_from_every_keyer():
    assert len(key(ask, "hi")) == 32
    assert key(ask, "hi", model="a", x=1) == key(ask, x=1, prompt="hi", model="a")


def test_a_constant_bound_anew_makes_a_new_key_and_back_the_old_one():
    made = module("def ask(p): return MODEL\nMODEL = 'a'")
    keys = keyer(made.ask)
    before = call(keys, "hi")
    made.MODEL = "b"
    assert call(keys, "hi") != before
    made.MODEL = "a"
    assert call(keys, "hi") == before


def test_lanes_do_not_pile_up():
    made = keyer(ask)
    for number in range(1100):
        made.key(None, ("hi",), {}, (f"user {number}",), 0)
    assert len(made.lanes) <= 1000


def test_stamps_of_namespace_function_and_every_scope_are_told_apart():
    lane, _ = keyer(ask).key(None, ("hi",), {}, ("a", "b"), 0)
    assert len(set(lane.stamps)) == 4
    assert lane.stamps[2] == keyer(ask).key(None, ("hi",), {}, ("a",), 0)[0].stamps[2]
    assert stamp_key("a", "b") != stamp_key("a b")


def scopes(own, *args, ambient=()):
    return keyer(ask, scope=own).scope_of(None, args, {}, Ambient()._replace(scope=ambient))


def test_scopes_add_up_and_none_is_none():
    variable: ContextVar[Any] = ContextVar("tenant")
    assert scopes(None, ambient=("a",)) == ("a",)
    assert scopes("b", ambient=("a",)) == ("a", "b")
    assert scopes(lambda prompt: prompt, "c", ambient=("a",)) == ("a", "c")
    assert scopes(lambda prompt: None, "c", ambient=("a",)) is None
    assert scopes(variable) is None
    variable.set("d")
    assert scopes(variable) == ("d",)


# Where there is none -------------------------------------------------------------------------------------------------


class Session:
    """Be what people pass along: an object with an address and no content."""

    def __init__(self, name="CANARY"):
        self.name = name

    def __repr__(self):
        return "CANARY"

    __str__ = __repr__

    def ask(self, prompt):
        pass


@dataclasses.dataclass
class Message:
    role: str
    content: Any


class Request(pydantic.BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    text: str
    session: Any = None


def message(function, /, *args, **kwargs) -> str:
    with pytest.raises(UnkeyableArgument) as caught:
        key(function, *args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "make"),
    [
        ("prompt", lambda it: ask(it)),
        ("messages[3].content", lambda it: ask("hi", messages=[{}, {}, {}, {"role": "user", "content": it}])),
        ("messages[1].content", lambda it: ask("hi", messages=(Message("user", "CANARY"), Message("user", it)))),
        ("messages.session", lambda it: ask("hi", messages=Request(text="CANARY", session=it))),
        ("messages[0].a[1].b", lambda it: ask("hi", messages=[{"a": ["CANARY", {"b": it}]}])),
        ("tool", lambda it: ask("hi", tool=it)),
        ("options", lambda it: ask("hi", options=it)),
        ("messages[...]", lambda it: ask("hi", messages={"a prompt, CANARY and all": it})),
        ("messages[...]", lambda it: ask("hi", messages={("CANARY",): it})),
        ("messages[...]", lambda it: ask("hi", messages={"CANARY_" * 6: it})),
    ],
)
def test_the_message_says_where(path, make, monkeypatch):
    def recording(*args, **kwargs):
        return message(original, *args, **kwargs)

    original = ask
    monkeypatch.setitem(globals(), "ask", recording)
    text = make(Session())
    assert text.startswith(f"{__name__}:ask(): {path} is a {__name__}.Session, which has no content to make a key of. ")
    assert "CANARY" not in text


def test_the_message_names_the_ways_out_and_brings_a_key_to_paste():
    text = message(ask, Session())
    for way in ("ignore=('prompt',)", "key=", "register_key(Session, function)", "__cache_key__"):
        assert way in text
    pasted = re.search(r"    def __cache_key__\(self\):\n        return .*", text).group()
    made = module(f"class Session:\n    name, version = 'a', 1\n{pasted}").Session
    assert key(ask, made()) == key(ask, made())


def test_following_the_advice_helps():
    made = keyer(ask, ignore=("tool",))
    assert "ignore=('tool',)" in message(ask, "hi", tool=Session())
    assert call(made, "hi", tool=Session()) == call(made, "hi", tool=Session())


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (object(), "builtins.object"), ((n for n in ()), "builtins.generator"), (threading.Lock(), "_thread.lock"),
        (threading.Thread(), "threading.Thread"), (ValueError("CANARY"), "builtins.ValueError"),
    ],
)  # fmt: skip
def test_the_message_names_the_type(value, kind):
    text = message(ask, "hi", messages=[value])
    assert f"messages[0] is a {kind}, " in text
    assert "CANARY" not in text


def test_an_open_file_is_named_and_not_read():
    with open(os.devnull, "rb") as file:
        assert "prompt is a _io.BufferedReader, " in message(ask, file)


def test_a_self_without_content_is_named():
    text = message(Session().ask, "CANARY")
    assert f"self is a {__name__}.Session" in text
    assert "CANARY" not in text


def test_attributes_of_its_own_are_named_and_not_shown():
    class Text(str):
        pass

    text = Text("CANARY")
    text.note = "CANARY"
    told = message(ask, text)
    assert "it has note beside its content" in told
    assert "CANARY" not in told


def test_what_key_returns_may_be_unkeyable_and_is_named():
    made = keyer(ask, key=lambda prompt: [prompt, Session()])
    with pytest.raises(UnkeyableArgument) as caught:
        call(made, "CANARY")
    assert f"the result of key=[1] is a {__name__}.Session" in str(caught.value)
    assert "ignore=" not in str(caught.value)
    assert "CANARY" not in str(caught.value)


def test_what_key_raises_is_raised_as_it_is():
    error = RecursionError("mine")

    def fail(prompt):
        raise error

    with pytest.raises(RecursionError) as caught:
        call(keyer(ask, key=fail), "hi")
    assert caught.value is error


def test_arguments_that_do_not_fit_are_named_by_position_and_keyword():
    def ask(prompt):
        pass

    assert "args[1] is a" in message(ask, "CANARY", Session())
    assert "other is a" in message(ask, "CANARY", other=Session())


def deep(depth: int) -> Any:
    value: Any = "CANARY"
    for _ in range(depth):
        value = [value]
    return value


def test_depth_and_circles_are_unkeyable_and_never_a_recursion_error():
    circle: dict[str, Any] = {"text": "CANARY"}
    circle["self"] = [circle]
    for value, place in ((deep(5000), "messages"), (circle, "messages"), ([1, circle], "messages[1]")):
        text = message(ask, "hi", messages=value)
        assert re.search(
            rf"ask\(\): {re.escape(place)}.* is a builtins\.\w+, nested too deep, or in a circle\. Ways out", text
        )
        assert "CANARY" not in text


def test_nothing_of_the_arguments_stays_with_the_error():
    with pytest.raises(UnkeyableArgument) as caught:
        key(ask, "CANARY", messages=["CANARY", Session()], secret="CANARY")
    error = caught.value
    while error is not None:
        assert "CANARY" not in f"{error!r} {error} {error.args} {vars(error)}"
        error = error.__cause__ or error.__context__


# Identity ------------------------------------------------------------------------------------------------------------

PROGRAM = """
from aicached.keys.keyer import Keyer
from aicached.policy import Policy
from aicached.keys.naming import identity
class Thing: pass
def ask(prompt, thing=Thing): return "answer"
if __name__ in ("__main__", "program"):
    print(*identity(ask), *identity(Thing), Keyer(ask, Policy(), "").key(None, ("hi",), {}, (), 0)[1].hex())
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def test_a_script_is_called_by_its_file_name_wherever_it_is_started(program, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    made = {
        python(str(program)),
        python("program.py", cwd=tmp_path),
        python("../program.py", cwd=tmp_path / "elsewhere", seed="1"),
    }
    (only,) = made
    assert only.split()[:4] == ["program.py", "ask", "program.py", "Thing"]


def test_a_module_is_called_by_its_name_started_with_m_or_imported(program):
    started = python("-m", "program", cwd=program.parent)
    imported = python("-c", "import program", cwd=program.parent)
    assert started.split()[:2] == ["program", "ask"]
    assert started == imported


def test_a_package_started_with_m_is_called_by_its_main_module(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(PROGRAM)
    assert python("-m", "package", cwd=tmp_path).split()[:2] == ["package.__main__", "ask"]


def test_code_from_the_command_line_is_called_main():
    assert python("-c", PROGRAM).split()[:2] == ["__main__", "ask"]


def test_processes_of_a_script_that_are_spawned_call_it_as_the_script_does(tmp_path):
    script = tmp_path / "spawning.py"
    script.write_text(
        "import multiprocessing\n"
        "from aicached.keys.keyer import Keyer\n"
        "from aicached.policy import Policy\n"
        "def ask(prompt): pass\n"
        "def hexed(_): return Keyer(ask, Policy(), '').key(None, ('hi',), {}, (), 0)[1].hex()\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool: print(hexed(0) == pool.map(hexed, [0])[0])\n"
    )
    assert python(str(script)) == "True"


def test_identity_is_module_and_qualified_name():
    assert identity(Session.ask) == (__name__, "Session.ask")
    assert identity(len) == ("builtins", "len")
    assert identity(dict.fromkeys) == ("builtins", "dict.fromkeys")
    assert identity(dict.get) == ("builtins", "dict.get")
    assert identity([].append) == ("builtins", "list.append")


def test_main_is_called_by_spec_then_file_then_main(monkeypatch):
    main = types.ModuleType("__main__")
    monkeypatch.setitem(naming.sys.modules, "__main__", main)
    assert main_name() == "__main__"
    main.__file__ = "/home/user/script.py"
    assert main_name() == "script.py"
    main.__spec__ = types.SimpleNamespace(name="package.module")
    assert main_name() == "package.module"
