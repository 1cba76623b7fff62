"""`python -m landscape_widget`."""

import sys

from landscape_widget.cli import main

if __name__ == "__main__":
    sys.exit(main())
