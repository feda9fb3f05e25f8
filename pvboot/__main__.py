"""`python -m pvboot` is the `pvboot` command."""

import sys

from pvboot.cli.main import main

sys.exit(main())
