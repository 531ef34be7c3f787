"""`python -m keras_trainsteps.rolling`."""

import sys

from keras_trainsteps.rolling.cli import main

if __name__ == "__main__":
    sys.exit(main())
