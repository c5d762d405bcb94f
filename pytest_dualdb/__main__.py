"""``python -m pytest_dualdb`` is the command ``dualdb``."""

from __future__ import annotations

import sys

from pytest_dualdb.cli import main

if __name__ == "__main__":
    sys.exit(main())
