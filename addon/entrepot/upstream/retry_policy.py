"""When upstream is asked again, before a client hears of its failure.

Most clients do not try a manifest again, and only docker a blob (an error status ends the pull of
containerd, podman and skopeo), so what is likely to pass in a moment is waited out here: failed
connections, 500, 502, 503 and 504, and 429 where ``Retry-After`` names a few seconds. A refusal
never is. A server that asks for a longer wait is believed, and its answer passed on at once.
"""

from dataclasses import dataclass

from entrepot.http_client.retry_after import parse_retry_after
from entrepot.protocol.statuses import TRANSIENT


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to try."""

    pauses: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    """Seconds before each further attempt."""
    longest: float = 10.0
    """Seconds after the first attempt from which on none is made, but for a wait that upstream
    itself asked for: that may begin until then, and be as long."""

    def pause(
        self,
        attempts: int,
        elapsed: float,
        status: int | None = None,
        retry_after: str | None = None,
    ) -> float | None:
        """Seconds to wait before asking again, or None where it is of no use.

        ``attempts`` were made, the first ``elapsed`` seconds ago; the last was answered with
        ``status`` and that ``Retry-After``, or (None) not at all.
        """
        if attempts > len(self.pauses) or (status is not None and status not in TRANSIENT):
            return None
        wanted = parse_retry_after(retry_after)
        if status == 429 and wanted is None:
            return None
        pause = self.pauses[attempts - 1]
        if wanted is not None and wanted > pause:
            return wanted if max(wanted, elapsed) <= self.longest else None
        return pause if elapsed + pause <= self.longest else None


PATIENCE = Patience()
PATIENCE_WITH_FALLBACK = Patience((0.25,), 1.0)
"""Where something else could be served: once more, and not after a deadline was waited for."""
