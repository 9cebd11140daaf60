"""A headless browser for tests, spoken to over two pipes: what it shows, what it complains of, what it asks for."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
WORDS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    *("--autoplay-policy=no-user-gesture-required", "--remote-debugging-pipe"),
)
SECONDS = 90


def needed():
    """Skip where there is no browser; fail where one was promised."""
    if BROWSER is None:
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("no browser, and REQUIRE_BROWSER is set: apt-get install chromium")
        pytest.skip("no browser: apt-get install chromium")


class Tab:
    """One page of a browser."""

    def __init__(self, send, read):
        self.send_bytes, self.read_bytes = send, read
        self.number, self.held, self.session = 0, b"", None
        self.complaints, self.asked, self.loaded = [], [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **values):
        """Send a command, wait for its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": values}
        if self.session is not None:
            message["sessionId"] = self.session
        self.send_bytes(json.dumps(message).encode() + b"\0")
        while True:
            got = self._next()
            if got.get("id") == self.number:
                assert "error" not in got, f"{method}: {got}"
                return got["result"]

    def show(self, uri, *, width, height=1400, dark=False, still=False):
        """Open a page as a reader with these wishes would see it, and wait until it is there."""
        self.complaints, self.asked, self.loaded = [], [], False
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        wishes = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if still else "no-preference",
        }
        self.call("Emulation.setEmulatedMedia", features=[{"name": k, "value": v} for k, v in wishes.items()])
        self.call("Page.navigate", url=uri)
        while not self.loaded:
            self._next()

    def ask(self, expression):
        """Return what an expression gives, a promise's answer too."""
        got = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def wait(self, expression, seconds=30):
        """Ask until it is true; say whether it became so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.ask(expression):
                return True
            time.sleep(0.1)
        return False

    def picture(self, whole=False):
        """Return a PNG of what is to be seen, or of the page from top to bottom."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def _next(self):
        while b"\0" not in self.held:
            self.held += self.read_bytes()
        line, _, self.held = self.held.partition(b"\0")
        got = json.loads(line)
        values = got.get("params", {})
        match got.get("method"):
            case "Page.loadEventFired":
                self.loaded = True
            case "Network.requestWillBeSent":
                self.asked.append(values["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(values["entry"]["text"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(values)[:300])
        return got


@contextmanager
def browser(folder):
    """Start a browser with a profile of its own in the folder; give a tab of it."""
    needed()
    (into_read, into_write), (from_read, from_write) = os.pipe(), os.pipe()

    def hand_over():
        # The browser reads from 3 and writes to 4; copies first, lest one overwrite the other.
        a, b = os.dup(into_read), os.dup(from_write)
        os.dup2(a, 3)
        os.dup2(b, 4)

    with (folder / "browser.log").open("w") as log:
        process = subprocess.Popen(
            [BROWSER, *WORDS, f"--user-data-dir={folder / 'profile'}"],
            pass_fds=(3, 4),
            preexec_fn=hand_over,
            stdout=log,
            stderr=log,
        )
    os.close(into_read)
    os.close(from_write)

    def read():
        assert select.select([from_read], [], [], SECONDS)[0], "the browser says nothing"
        data = os.read(from_read, 1 << 20)
        assert data, f"the browser is gone: {(folder / 'browser.log').read_text()[-2000:]}"
        return data

    def send(data):
        while data:
            data = data[os.write(into_write, data) :]

    try:
        yield Tab(send, read)
    finally:
        os.close(into_write)
        os.close(from_read)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
