"""`python -m pocketlens` is `pocketlens`."""

import sys

from pocketlens.cli import main

if __name__ == "__main__":
    sys.exit(main())
