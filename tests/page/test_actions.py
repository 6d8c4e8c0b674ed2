"""What one does on the page: pin, delete, zoom, filter, follow a download; by keyboard too."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from rig.browser import Watched, watched
from rig.page import TOKEN, Reader
from rig.process import eventually
from rig.stage_page import GHCR, Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def seen(browser: "Browser", staged: Stage) -> Iterator[Watched]:
    with watched(browser, f"http://127.0.0.1:{staged.proxy.port}") as seen:
        yield seen
        assert seen.problems == []


def names(staged: Stage, text: str) -> list[str]:
    answer = Reader(staged.proxy.port).get(f"/api/images?filter={text}").json()
    images = answer["images"]
    assert isinstance(images, list)
    return [name for image in images for name in image["names"]]


def test_images_are_pinned_and_deleted_after_a_question(seen: Watched, staged: Stage) -> None:
    """Each with what it comes to; nothing goes that was not confirmed."""
    name, page = "docker.io/library/rabbitmq:4-management", seen.page
    seen.open("/ui/images?filter=rabbitmq")
    assert page.get_by_role("button", name=f"Delete {name}").count() == 0
    seen.sign_in(TOKEN)
    seen.open("/ui/images?filter=rabbitmq")
    page.get_by_role("button", name=f"Pin {name}").click()
    page.get_by_text(f"Pinned {name}").wait_for()
    page.get_by_role("button", name=f"Unpin {name}").wait_for()
    assert page.get_by_role("button", name=f"Delete {name}").is_disabled()
    page.get_by_role("button", name=f"Unpin {name}").click()
    page.get_by_role("button", name=f"Pin {name}").wait_for()
    page.get_by_role("button", name=f"Delete {name}").click()
    page.get_by_text("MiB become free").wait_for()
    page.get_by_role("button", name="Keep it").click()
    assert names(staged, "rabbitmq") == [name]
    page.get_by_role("button", name=f"Delete {name}").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("No image is named like that.").wait_for()
    assert names(staged, "rabbitmq") == []
    for action in ("pin", "unpin", "remove"):
        assert f"page_changed client=127.0.0.1 action={action} names=" in staged.proxy.log


def test_the_keyboard_is_enough(seen: Watched, staged: Stage) -> None:
    """From the address bar to a deleted image, by Tab, Enter and Escape."""
    page, keyboard = seen.page, seen.page.keyboard
    seen.open("/ui/images?filter=cert-manager")
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_role("link", name="Sign in").first.focus()
    keyboard.press("Enter")
    page.wait_for_url("**/ui/sign-in**")
    keyboard.type(TOKEN)
    keyboard.press("Enter")
    page.wait_for_url("**/ui/images**")
    label = "Delete quay.io/jetstack/cert-manager-controller:v1.19.0"
    button = page.get_by_role("button", name=label)
    button.wait_for()
    for _ in range(60):
        keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == label:
            break
    else:
        pytest.fail("Tab does not come to the button")
    keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Keep it"
    keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    assert names(staged, "cert-manager")
    button.focus()
    keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    keyboard.press("Tab")
    keyboard.press("Enter")
    eventually(lambda: not names(staged, "cert-manager"), what="deleted")


def test_a_download_is_followed_without_reloading(seen: Watched, staged: Stage) -> None:
    """Its layers come, grow, say who waits, and go when they are here."""
    page = seen.page
    seen.open("/")
    now = page.locator("#part-downloads")
    now.get_by_text("acme/storefront").wait_for()
    gate = staged.fetch(GHCR, "acme/checkout", 3, 0.4, "127.0.0.21", "127.0.0.22")
    row = now.locator("li.fetch", has_text="acme/checkout")
    row.get_by_text("2 wait: 127.0.0.21, 127.0.0.22").wait_for()
    assert row.get_by_text("MiB of 3.0 MiB").count() == 1
    gate.open()
    row.wait_for(state="detached")


def test_a_chart_is_zoomed_and_read(seen: Watched) -> None:
    """By dragging or by a button; a table says the same in numbers."""
    page = seen.page
    seen.open("/?period=month")
    card = page.locator("[data-chart=bytes]")
    card.locator("canvas").wait_for()
    card.get_by_text("As a table").click()
    coarse = card.locator("tbody tr").count()
    assert coarse > 20
    box = card.locator(".u-over").bounding_box()
    assert box is not None
    with page.expect_response(lambda answer: "/api/figures?since=" in answer.url):
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 50, steps=4)
        page.mouse.up()
    page.wait_for_function(
        "before => document.querySelectorAll('[data-chart=bytes] tbody tr').length !== before",
        arg=coarse,
    )
    with page.expect_response(lambda answer: "/api/figures?period=month" in answer.url):
        card.get_by_role("button", name="Whole period").click()
    with page.expect_response(lambda answer: "/api/figures?since=" in answer.url):
        card.get_by_role("button", name="Look closer").press("Enter")


def test_the_log_is_filtered_and_turned(seen: Watched) -> None:
    """By what one chooses; the address says it, to be handed on."""
    page = seen.page
    seen.open("/ui/requests")
    page.get_by_label("Outcome").select_option("tunnel")
    page.wait_for_url("**/ui/requests?outcome=tunnel")
    page.get_by_text("this client does not trust the CA").first.wait_for()
    assert page.locator("tbody .badge.good").count() == 0
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**before=**")
    page.get_by_role("link", name="Latest").click()
    page.wait_for_url("**/ui/requests?outcome=tunnel**")


def test_the_theme_is_chosen_and_kept(seen: Watched) -> None:
    """The system's, light, dark; it stays with the browser."""
    page = seen.page
    seen.open("/ui/settings")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    toggle = page.get_by_role("button", name="Theme")
    toggle.click()
    toggle.click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    seen.open("/ui/clients")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_words_of_others_are_text(seen: Watched, staged: Stage) -> None:
    """XSS: user agents, filters and names with markup in them are shown as they are."""
    evil = "<img src=x onerror=alert(1)>\"'<script>alert(2)</script>"
    staged.client("127.0.0.31").get(
        "https://ghcr.io/v2/acme/ghcr/manifests/1", {"User-Agent": evil}
    )
    page = seen.page
    eventually(
        lambda: b"127.0.0.31" in Reader(staged.proxy.port).get("/ui/requests").body,
        what="the request recorded",
    )
    for path in (
        "/ui/requests?client=127.0.0.31",
        f"/ui/requests?repository={evil}&client={evil}",
        f"/ui/images?filter={evil}",
        f"/ui/setup?client={evil}",
        "/ui/clients",
    ):
        seen.open(path)
        assert page.locator("img, main script").count() == 0
    seen.open("/ui/requests?client=127.0.0.31")
    page.get_by_text("<img src=x onerror=alert(1)>").first.wait_for()
