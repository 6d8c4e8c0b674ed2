"""``python -m entrepot.cli``: the command, where its script is not installed."""

import sys

from entrepot.cli.main import main

sys.exit(main())
