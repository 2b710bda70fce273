"""
Choose the command, run it, and turn whatever happens into an exit code and at most one line on stderr.

Law: 0 is done, 1 is a store that cannot be reached or work that failed, 2 is wrong usage; nobody sees a traceback for
a mistake of his own. The demo needs no more than its own extra; all else needs ``[cli]``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from ..errors import AICachedError, ConfigurationError, UnkeyableArgument

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that *arguments* name (None: those of the process); return the exit code."""
    try:
        import typer  # noqa: F401
    except ImportError:
        return _demo_alone(arguments)
    from .app import app

    # What a store in trouble logs is said once, below; without any handler Python prints it as well.
    logging.getLogger("aicached").addHandler(logging.NullHandler())
    try:
        code = app(arguments, standalone_mode=False, prog_name="aicached")
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _failed(error)
    return code if isinstance(code, int) else 0


def _failed(error: Exception) -> int:
    """Say in one line what went wrong; return the exit code. What nobody foresaw is raised."""
    shown = getattr(error, "format_message", None)  # of typer, in all its versions
    if shown is not None:
        return _say(f"{shown().rstrip('.')}: see aicached --help", 2)
    if isinstance(error, (ConfigurationError, UnkeyableArgument)):
        return _say(str(error), 2)
    if isinstance(error, (AICachedError, OSError)):
        return _say(str(error), 1)
    if type(error).__name__ == "Abort":
        return _say("stopped", 1)
    raise error


def _say(text: str, code: int) -> int:
    print(f"aicached: {' '.join(text.split())}", file=sys.stderr)
    return code


def _demo_alone(arguments: Sequence[str] | None) -> int:
    """Run the demo where nothing but its own extra is installed."""
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] != "demo" and not given[0].startswith("-"):
        return _say("this command needs typer and rich: pip install 'aicached[cli]'", 1)
    parser = argparse.ArgumentParser(
        prog="aicached", description="Cache the answers of AI models. More commands: pip install 'aicached[cli]'"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="call a model on this machine, raw and cached, side by side")
    demo.add_argument("--url", help="the store to use, as redis://localhost (default: the configured one)")
    demo.add_argument("--json", action="store_true", help="print the figures as JSON")
    chosen = parser.parse_args(given)
    from . import demo as command

    return command.run(url=chosen.url, as_json=chosen.json)
