"""The built site as a reader meets it: Debian's Chromium opens every page."""

import functools
import http.server
import shutil
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_site" / "html"
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed: make browser"),
    pytest.mark.skipif(not HTML.exists(), reason="the site is not built: make docs"),
]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    handler = functools.partial(QuietHandler, directory=str(HTML))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def watch(page, problems: list[str]) -> None:
    """Gather console errors, failed requests and requests that leave the machine."""
    page.on(
        "console",
        lambda message: problems.append(f"console: {message.text}") if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: problems.append(f"script: {error}"))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("http://127.0.0.1", "data:", "blob:"))
            else problems.append(f"left: {request.url}")
        ),
    )
    page.on(
        "response",
        lambda answer: problems.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None,
    )


def pages() -> list[str]:
    skipped = ("_static/", "_modules/", "genindex", "py-modindex", "search.html")
    return sorted(
        name for path in HTML.rglob("*.html") if not (name := str(path.relative_to(HTML))).startswith(skipped)
    )


def test_every_page_on_a_phone(site, browser):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page, problems = context.new_page(), []
    watch(page, problems)
    for name in pages():
        page.goto(f"{site}/{name}")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            problems.append(f"{name}: {wide} px wider than a phone")
        if not page.locator("h1").count():
            problems.append(f"{name}: no heading")
    context.close()
    assert len(pages()) > 10
    assert not problems, "\n".join(problems)


def test_search_finds_the_embedder(site, browser):
    page, problems = browser.new_page(), []
    watch(page, problems)
    page.goto(f"{site}/search.html?q=ViTEmbedder")
    page.wait_for_selector("#search-results li", timeout=20_000)
    assert "ViTEmbedder" in page.locator("#search-results").inner_text()
    assert not problems, "\n".join(problems)


def test_dark_mode_and_source_links(site, browser):
    page = browser.new_page(color_scheme="dark")
    page.goto(f"{site}/api/embed/embedder.html")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    red, green, blue = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    )
    assert max(red, green, blue) < 80
    assert page.locator("a.viewcode-link, a:has(.viewcode-link)").count() > 0
    assert page.locator("a.reference.internal code").count() > 3, "back-ticked names should link"
