"""A real browser: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from rig.process import PATH

DESKTOP = {"width": 1360, "height": 900}
PHONE = {"width": 390, "height": 844}
Scheme = Literal["light", "dark"]

_AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
_RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start one; it reaches nothing but loopback in these tests."""
    words = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium", path=PATH), args=words
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, and what went wrong on it."""

    page: Page
    base: str
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        self.page.on("request", self._asked)

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.problems.append(f"{kind}: {text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(self.base):
            self.problems.append(f"a request elsewhere: {request.url}")

    def open(self, path: str) -> None:
        """Go there, and wait until all of it has come."""
        answer = self.page.goto(f"{self.base}{path}", wait_until="load")
        assert answer is not None
        assert answer.status == 200, (path, answer.status)

    def sign_in(self, token: str) -> None:
        """Show the token."""
        self.open("/ui/sign-in?next=/ui/images")
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/ui/images")

    def violations(self) -> list[str]:
        """What axe-core finds wrong; it comes by the debugger, since the page forbids scripts."""
        self.page.evaluate(f"() => {{ {_AXE.read_text(encoding='utf-8')} }}")
        found: Mapping[str, Any] = self.page.evaluate(
            "rules => axe.run(document, {runOnly: rules})", list(_RULES)
        )
        return [
            f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']][:5]}"
            for one in found["violations"]
        ]

    def overflows(self) -> bool:
        """Whether it is wider than the screen."""
        wide: bool = self.page.evaluate(
            "() => document.documentElement.scrollWidth > window.innerWidth"
        )
        return wide


@contextmanager
def watched(
    browser: Browser,
    base: str,
    *,
    size: Mapping[str, int] = DESKTOP,
    scheme: Scheme = "light",
    scripts: bool = True,
) -> Iterator[Watched]:
    """A page in a context of its own, that is, with no cookie."""
    context: BrowserContext = browser.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        color_scheme=scheme,
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )
    context.set_default_timeout(15_000)
    try:
        yield Watched(context.new_page(), base)
    finally:
        context.close()
