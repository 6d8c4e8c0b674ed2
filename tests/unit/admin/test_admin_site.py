"""Which requests are for the page, and what the page costs until then."""

import subprocess
import sys

import pytest

from entrepot.admin.admin_site import AdminSite
from entrepot.endpoints.page_request import PageRequest

BROWSER = (("Accept", "text/html,application/xhtml+xml;q=0.9"),)
CURL = (("accept", "*/*"),)


@pytest.mark.parametrize(
    ("method", "target", "fields", "takes"),
    [
        ("GET", "/", BROWSER, True),
        ("HEAD", "/?period=week", BROWSER, True),
        ("GET", "/", CURL, False),
        ("GET", "/", (), False),
        ("POST", "/", BROWSER, False),
        ("GET", "/ui", CURL, True),
        ("GET", "/ui/images", CURL, True),
        ("POST", "/ui/sign-in", CURL, True),
        ("GET", "/api?x", CURL, True),
        ("GET", "/uix", BROWSER, False),
        ("GET", "/ca.pem", BROWSER, False),
        ("GET", "/healthz", BROWSER, False),
        ("GET", "/setup", BROWSER, False),
        ("GET", "/v2/", BROWSER, False),
    ],
)
def test_browsers_get_the_page(
    method: str, target: str, fields: tuple[tuple[str, str], ...], *, takes: bool
) -> None:
    """And programs what they always got."""
    assert AdminSite.takes(PageRequest(method, target, fields)) is takes


def test_nothing_of_it_is_imported_at_a_start() -> None:
    """Neither the framework, nor the server, nor the templates."""
    code = (
        "import sys, entrepot.app.composition\n"
        "heavy = {'starlette', 'uvicorn', 'jinja2', 'anyio'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
