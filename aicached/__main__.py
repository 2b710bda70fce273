"""Run the command line as ``python -m aicached``."""

from __future__ import annotations

import sys

from .cli.main import main

# The guard matters: who walks through the modules of a package imports this one too.
if __name__ == "__main__":
    sys.exit(main())
