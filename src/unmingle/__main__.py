"""`python -m unmingle`: the command line, for when its script is not on the path."""

import sys

from unmingle.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
