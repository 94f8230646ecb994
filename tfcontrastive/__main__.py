"""`python -m tfcontrastive`, the same as the program `tfcontrastive`."""

import sys

from tfcontrastive.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
