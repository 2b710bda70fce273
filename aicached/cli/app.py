"""
The commands by name.

Law: one file per command; each returns its exit code, and what it raises `main` knows how to say.
"""

from __future__ import annotations

import typer

from . import clear, doctor, entries, explain, files, invalidate, purge, savings, stats, warm
from . import demo as demonstration
from . import report as page
from .near_matches import app as near_matches
from .shared import JsonOption, UrlOption

__all__ = ["app"]

app = typer.Typer(
    help="See, fill and clear the caches of AI models' answers.",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def demo(url: UrlOption = None, as_json: JsonOption = False) -> int:
    """Call a model on this machine, raw and cached, side by side."""
    return demonstration.run(url=url, as_json=as_json)


app.command("stats")(stats.run)
app.command("savings")(savings.run)
app.command("list")(entries.run_list)
app.command("show")(entries.run_show)
app.command("explain")(explain.run)
app.command("warm")(warm.run)
app.command("invalidate")(invalidate.run)
app.command("clear")(clear.run)
app.command("purge")(purge.run)
app.command("save")(files.run_save)
app.command("load")(files.run_load)
app.command("report")(page.run)
app.command("doctor")(doctor.run)
app.add_typer(near_matches, name="semantic")
