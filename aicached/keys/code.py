"""
Code objects: what they do, what they read, and what they import.

Law: never by source text. A file can have changed since it was imported, and then the running old code would get the
new source's digest; file names, line numbers and decorators say nothing about the answer either.
"""

from __future__ import annotations

import dis
import hashlib
import itertools
import types
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from .canonical import form, pack, tagged

__all__ = ["code_digest", "code_imports", "code_names"]


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return tagged("code", code_digest(value))
    if isinstance(value, (tuple, frozenset)):
        items = [_constant(item) for item in value]
        # The order of a frozenset follows the hash seed.
        return tagged("tuple", *items) if isinstance(value, tuple) else tagged("frozenset", *sorted(items, key=pack))
    return form(value)


@lru_cache(maxsize=4096)
def code_digest(code: types.CodeType) -> bytes:
    """Return a digest of what *code* does: bytecode, constants, nested code, names, and how it takes its arguments."""
    parts = (
        code.co_code,
        getattr(code, "co_exceptiontable", b""),
        [None if index == _line(code) else _constant(value) for index, value in enumerate(code.co_consts)],
        [list(names) for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)],
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
    )
    return hashlib.sha256(pack(list(parts))).digest()


def _line(code: types.CodeType) -> int | None:
    """Return where a class body keeps its own line number, among its constants; nothing else may read it there."""
    if "__firstlineno__" not in code.co_names:
        return None
    steps = list(dis.get_instructions(code))
    reads = [step.arg for step in steps if step.opname == "LOAD_CONST"]
    pairs = itertools.pairwise(steps)
    stored = [step.arg for step, then in pairs if then.opname == "STORE_NAME" and then.argval == "__firstlineno__"]
    return stored[0] if stored and reads.count(stored[0]) == 1 else None


def nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield *code* and all code inside of it."""
    yield code
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from nested(value)


_LOADS = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"))
_ATTRIBUTES = frozenset(("LOAD_ATTR", "LOAD_METHOD"))
_STORES = frozenset(("STORE_GLOBAL", "DELETE_GLOBAL"))
#: They say where code lives, not what it does.
_WHERE = frozenset("__name__ __file__ __path__ __cached__ __package__ __spec__ __loader__ __builtins__".split())


@lru_cache(maxsize=4096)
def code_names(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """
    Return the globals that *code* names and does not assign, each with the attributes read from it: ``("np", "pi")``.
    """
    chains: set[tuple[str, ...]] = set()
    assigned: set[str] = set()
    for part in nested(code):
        chain: tuple[str, ...] = ()
        for step in dis.get_instructions(part):
            if step.opname == "EXTENDED_ARG":  # the first half of the next instruction
                continue
            if chain and step.opname in _ATTRIBUTES:
                chain = (*chain, str(step.argval))
                continue
            chains.add(chain)
            chain = (str(step.argval),) if step.opname in _LOADS else ()
            if step.opname in _STORES:
                assigned.add(str(step.argval))
        chains.add(chain)
    return tuple(sorted(chain for chain in chains if chain and chain[0] not in assigned and not _WHERE & {*chain}))


@lru_cache(maxsize=4096)
def code_imports(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """
    Return what *code* imports by itself, each with the attributes read from it: ``("conf", "MODEL")``.

    This is for ``from conf import MODEL`` and ``import conf`` inside a function. The first part is a module's name,
    with leading dots where the import is relative.
    """
    chains: set[tuple[str, ...]] = set()
    held: dict[str, tuple[str, ...]] = {}  # local name -> what was imported under it
    for part in nested(code):
        module, constants = "", [0]
        chain: tuple[str, ...] = ()
        for step in dis.get_instructions(part):
            if step.opname in ("EXTENDED_ARG", "SWAP", "POP_TOP", "ROT_TWO", "CACHE"):
                continue
            if step.opname in _ATTRIBUTES and chain:
                chain = (*chain, str(step.argval))
                continue
            chains.add(chain)
            if step.opname == "LOAD_CONST":
                constants.append(step.argval)
            if step.opname == "IMPORT_NAME":
                level = constants[-2] if isinstance(constants[-2], int) else 0
                module = "." * level + str(step.argval)
                chain = (module if level else module.partition(".")[0],)
            elif step.opname == "IMPORT_FROM":
                chain = (module, str(step.argval))
            elif step.opname.startswith("STORE_") and chain:
                held[str(step.argval)] = chain
                chain = ()
            else:
                chain = held.get(str(step.argval), ()) if step.opname.startswith("LOAD_") else ()
    return tuple(sorted(chain for chain in chains if len(chain) > 1 and not _WHERE & {*chain}))
