"""What goes wrong in a tap does not reach the push."""

import pytest

from entrepot.mitm.hooks.push_tee import tee
from unit.push.world import DATA, DIGEST, PLACE, Start, in_loop


@in_loop
async def test_what_goes_wrong_here_does_not_reach_the_push(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 7: an error in taking bytes in costs the blob; the bytes go on to the registry."""
    async with start() as world:
        world.begin()
        watched = world.watch("PUT", f"{PLACE}?digest={DIGEST}")
        assert watched is not None
        passed = tee(watched, world.events)
        assert passed(DATA[:1000]) == DATA[:1000]
        watched._sink = None  # type: ignore[assignment]  # noqa: SLF001 as no code of ours does
        with caplog.at_level("ERROR"):
            assert passed(DATA[1000:]) == DATA[1000:]
        assert 'hook_failed task="taking in what is pushed"' in caplog.text
        assert passed(b"") == b""
