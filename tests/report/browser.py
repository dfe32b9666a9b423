"""A headless Chromium that looks at a page as a person does: its size, its colours, a pointer."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

SIZES = {1280: 800, 390: 844}
"""Width -> height: of a laptop, and of a telephone."""


class Page:
    """A page in a browser."""

    def __init__(self, driver: Chrome):
        self.driver = driver

    def open(self, path: Path, *, width: int = 1280, dark: bool = False) -> None:
        """Open a file and have all its figures drawn."""
        self.size(width)
        self.scheme(dark=dark)
        self.driver.get(path.absolute().as_uri())
        self.run("all()")
        self.until("nodes.every(([, node]) => node.querySelector('svg'))")

    def size(self, width: int, height: int = 0) -> None:
        """Give the window a width, and by default the height that goes with it."""
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height or SIZES[width],
            deviceScaleFactor=1,
            mobile=width < 700,
        )

    def scheme(self, *, dark: bool) -> None:
        """Prefer light or dark."""
        value = "dark" if dark else "light"
        feature = {"name": "prefers-color-scheme", "value": value}
        self.cdp("Emulation.setEmulatedMedia", features=[feature])

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script; return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def until(self, condition: str) -> Any:
        """Wait until an expression is true."""
        return WebDriverWait(self.driver, 60, 0.05).until(lambda _: self.run(f"return {condition}"))

    def cdp(self, command: str, **arguments: Any) -> Any:
        """Send a command to the browser's own protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def errors(self) -> list[str]:
        """Return what the console complained of since it was last asked."""
        entries = self.driver.get_log("browser")
        return [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]

    def move(self, x: float, y: float) -> None:
        """Move the pointer to a point of the window."""
        self.cdp("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key: str, *, alt: bool = False) -> None:
        """Press a key, by its name."""
        held = int(alt)
        self.cdp("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, modifiers=held)

    def show(self, id_: str) -> None:
        """Bring a figure into the middle of the window, and wait for the event of that."""
        self.run(
            """
            const before = window.scrollY;
            document.getElementById(arguments[0]).scrollIntoView({block: 'center'});
            window.still = window.scrollY === before;
            addEventListener('scroll', () => { window.still = true; }, {once: true});
            """,
            id_,
        )
        self.until("still")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write a picture of what is seen, or of the whole page."""
        shot = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser() -> Iterator[Page]:
    """Start a browser, without a network."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        page = Page(driver)
        page.cdp("Network.enable")
        page.cdp(
            "Network.emulateNetworkConditions",
            offline=True,
            latency=0,
            downloadThroughput=0,
            uploadThroughput=0,
        )
        yield page
    finally:
        driver.quit()
