"""What the page may ask of the other parts of a running proxy."""

import asyncio
import time
from functools import partial

from entrepot.admin.data.sources import Sources
from entrepot.app.page.look import Parts, look
from entrepot.control.administration import Administration
from entrepot.version import VERSION


def page_sources(parts: Parts, administration: Administration) -> Sources:
    """What the page may ask; to be called in the engine's loop."""
    foundation, context = parts.foundation, parts.context
    return Sources(
        asyncio.get_running_loop(),
        partial(look, parts),
        administration,
        foundation.config,
        lambda: parts.proxy_port,
        context.events,
        context.clock,
        context.wall,
        time.time(),
        VERSION,
    )
