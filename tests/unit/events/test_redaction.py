"""What libraries quote, made fit for the log."""

import pytest

from entrepot.events.redaction import redacted


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ("address already in use", "address already in use"),
        ("GET https://cdn.test/a?sig=SECRET failed", "GET https://cdn.test failed"),
        ("'http://me:SECRET@proxy.test:3128/'", "'http://proxy.test:3128'"),
        ("at (https://[::1]:5000/v2/?a=SECRET)", "at (https://[::1]:5000"),
        ("Authorization: Basic SECRET", "Authorization: ..."),
        ("{'authorization': 'Bearer SECRET'}", "{'authorization': ..."),
        ("sent Bearer SECRET.SECRET-SECRET to it", "sent Bearer ... to it"),
        ("Cookie: a=SECRET", "Cookie: ..."),
    ],
)
def test_nothing_secret_is_left(text: str, fit: str) -> None:
    """No path or query of a URL, no login in it, and none beside it."""
    assert redacted(text) == fit
