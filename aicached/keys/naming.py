"""
What a class or a function is called, in every process that runs the same program.

Law: a module and a qualified name, never an address. `__main__` is the module's own name where the program was started
with ``-m``, else the script's file name, so that a script finds its answers again.
"""

from __future__ import annotations

import os
import sys
from typing import Any

__all__ = ["identity", "main_name"]


#: The second is what `multiprocessing` calls the script in the processes that it spawns.
MAIN = ("__main__", "__mp_main__")


def main_name() -> str:
    """Return what `__main__` is called: its spec's name, its file's name, or ``__main__`` itself."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name)
    script = getattr(main, "__file__", None)
    return os.path.basename(script) if script else "__main__"


def identity(thing: Any) -> tuple[str, str]:
    """Return module and qualified name of a class or function."""
    module = getattr(thing, "__module__", None)
    if not isinstance(module, str):
        owner = getattr(thing, "__objclass__", None) or getattr(thing, "__self__", None)
        module = getattr(owner, "__module__", None) if isinstance(owner, type) else getattr(owner, "__name__", None)
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None) or type(thing).__qualname__
    return (main_name() if module in MAIN else str(module or "builtins")), str(name)
