"""``python -m spectral_ssl`` is the command ``spectral-ssl``."""

import sys

from spectral_ssl.cli import main

if __name__ == "__main__":
    sys.exit(main())
