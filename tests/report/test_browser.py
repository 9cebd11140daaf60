"""The page in a real browser: it renders, on a wide screen and on a phone, and asks for nothing."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest

from diffsda.report import page
from diffsda.report.canvas import png
from diffsda.report.curves import loss_curve
from diffsda.report.sections import Figure, Score, Scores, Text

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_renders(tmp_path, width):
    if BROWSER is None:
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("no browser, and REQUIRE_BROWSER is set: apt-get install chromium")
        pytest.skip("no browser: apt-get install chromium")
    image = pytest.importorskip("matplotlib.image")
    figure = Figure(png(loss_curve(np.arange(1, 50), 1 / np.arange(1, 50))), "Loss.", "a curve that falls")
    scores = Scores((Score("good", 0.9, 0.8), Score("bad", 0.1, 0.8)), caption="scores")
    file = page.write_page(tmp_path / "page.html", "A page", [Text("words"), scores, figure])
    shot = tmp_path / "shot.png"
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},1400",
            f"--screenshot={shot}",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert shot.exists(), done.stderr
    picture = image.imread(shot)[..., :3]
    assert picture.shape[1] == width
    background = picture[0, 0]
    ink = np.abs(picture - background).max(-1) > 0.1
    assert ink.mean() > 0.005  # something is drawn
    assert ink[picture.shape[0] // 4 : picture.shape[0] // 2].any()
    assert not ink[:, -2:].any()  # nothing runs off the right edge
