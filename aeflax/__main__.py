"""`python -m aeflax` is `aeflax`."""

import sys

from aeflax.cli import main

if __name__ == "__main__":
    sys.exit(main())
