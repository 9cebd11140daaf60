"""Run the command line: python -m diffsda."""

import sys

from diffsda.cli import main

sys.exit(main())
