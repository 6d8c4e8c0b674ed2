"""Each page in a real browser: nothing is wrong with it, nothing comes from elsewhere."""

from typing import TYPE_CHECKING

import pytest

from rig.browser import DESKTOP, PHONE, Scheme, watched
from rig.page import TOKEN
from rig.stage_page import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGES = (
    "/",
    "/?period=month",
    "/ui/images",
    "/ui/images?filter=ghcr.io/&sort=size",
    "/ui/images?filter=nothing-is-named-so",
    "/ui/image?name=docker.io/library/node:22",
    "/ui/images/next",
    "/ui/requests",
    "/ui/requests?outcome=error",
    "/ui/upstreams",
    "/ui/clients",
    "/ui/setup",
    "/ui/settings",
    "/ui/sign-in",
)


@pytest.mark.parametrize(
    ("size", "scheme", "signed_in"),
    [
        (DESKTOP, "light", False),
        (DESKTOP, "dark", True),
        (PHONE, "light", True),
        (PHONE, "dark", False),
    ],
    ids=["desktop-light", "desktop-dark", "phone-light", "phone-dark"],
)
def test_nothing_is_wrong_with_any_page(
    browser: "Browser", staged: Stage, size: dict[str, int], scheme: Scheme, *, signed_in: bool
) -> None:
    """No error in the console, no request elsewhere, nothing that axe-core knows, nor sideways."""
    base = f"http://127.0.0.1:{staged.proxy.port if signed_in else staged.admin_port}"
    with watched(browser, base, size=size, scheme=scheme) as seen:
        if signed_in:
            seen.sign_in(TOKEN)
        for path in PAGES:
            seen.open(path)
            assert seen.violations() == [], path
            assert not seen.overflows(), path
            assert seen.problems == [], path


def test_pages_can_be_read_without_scripts(browser: "Browser", staged: Stage) -> None:
    """They are whole as they come; scripts only keep them up to date."""
    base = f"http://127.0.0.1:{staged.proxy.port}"
    with watched(browser, base, scripts=False) as seen:
        for path, text in {
            "/": "Not downloaded again",
            "/ui/images": "library/node",
            "/ui/requests": "the registry said by HEAD",
            "/ui/clients": "10.20.1.11",
            "/ui/setup": "--fingerprint",
            "/ui/settings": "--admin-token",
        }.items():
            seen.open(path)
            seen.page.get_by_text(text).first.wait_for()
