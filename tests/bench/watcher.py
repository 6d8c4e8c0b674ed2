"""Who watches a proxy: Prometheus, every second, and a browser with the overview open.

A process of its own, so that it costs the measuring client nothing but its share of a core.
"""

import http.client
import sys
import time
from collections.abc import Callable

_SCRAPE_SECONDS = 1.0
_PAGE_SECONDS = 2.0  # EVERY_MS of admin/static/live.js


def main(port: int) -> None:
    """Ask, until killed; says `watching` once it has had every answer."""
    due: list[tuple[float, Callable[[], None], float]] = [
        (0.0, lambda: _ask(port, "/metrics", "text/plain"), _SCRAPE_SECONDS),
        (0.0, lambda: _ask(port, "/ui/live/overview", "text/html"), _PAGE_SECONDS),
    ]
    for _, ask, _ in due:
        ask()
    sys.stdout.write("watching\n")
    sys.stdout.flush()
    while True:
        due.sort(key=lambda one: one[0])
        at, ask, every = due.pop(0)
        time.sleep(max(0.0, at - time.monotonic()))
        ask()
        due.append((time.monotonic() + every, ask, every))


def _ask(port: int, path: str, accept: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Accept": accept})
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path}: got {answer.status}, want 200")


if __name__ == "__main__":
    main(int(sys.argv[1]))
