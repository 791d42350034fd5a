"""`python -m polar_llama`: the command line without an installed script."""

from __future__ import annotations

import sys

from polar_llama.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
