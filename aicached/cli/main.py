"""
Choose the command and run it.

Law: a command is imported when it is chosen, and its number is the exit code.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that *arguments* name (None: those of the process); return the exit code."""
    chosen = _parser().parse_args(arguments)
    from . import demo

    return demo.run(url=chosen.url, as_json=chosen.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aicached", description="Cache the answers of AI models.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="call a model on this machine, raw and cached, side by side")
    demo.add_argument("--url", help="the store to use, as redis://localhost (default: the configured one)")
    demo.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser
