"""The file for ``mitmdump -s addon/main.py``, from a bare checkout as well.

mitmproxy takes a file and runs it under a name of its own, so it can hold nothing but this.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
for _folder in (_ROOT / "addon", _ROOT / "ca"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

from entrepot.mitm.addon import Entrepot  # noqa: E402 the path comes first

addons = [Entrepot()]
