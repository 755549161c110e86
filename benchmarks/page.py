"""Size of the report's page and the time that a browser takes to open it: 20,000 test clips, and 1,000 classes.

    PYTHONPATH=src python benchmarks/page.py

Made predictions of a model of two modalities and three seeds. Opening: from the request to the page's `load` event, and
to the first drawn chart of the task, in headless Chromium, the median of five; needs playwright and Chromium.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from machine import machine

import modalens

SIZES = {"20,000 clips, 10 classes": (20_000, 10), "5,000 clips, 1,000 classes": (5_000, 1_000)}
SEEDS, TRIES = 3, 5
RIGHT = {"audio,video": 0.8, "audio": 0.5, "video": 0.7, "": 0.1}


def predictions(clips: int, classes: int) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    names = np.array([f"class {number:04d}" for number in range(classes)])
    label = draw.integers(classes, size=clips)
    tables = []
    for seed in range(SEEDS):
        for kept, right in RIGHT.items():
            told = np.where(draw.random(clips) < right, label, draw.integers(classes, size=clips))
            chance = np.where(told == label, 0.9, 0.02) * draw.uniform(0.8, 1, clips)
            tables.append(pd.DataFrame({
                "clip_id": [f"clip-{number:05d}" for number in range(clips)], "seed": seed, "coalition": kept,
                "replacement": "" if kept == "audio,video" else "mean@input",
                "label": names[label], "predicted": names[told], "log_probability": np.log(chance),
            }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def opened(page: Path) -> tuple[float, float]:
    """Seconds to `load`, and to the first chart of the task."""
    from playwright.sync_api import sync_playwright

    whole, drawn = [], []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(TRIES):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            begin = time.perf_counter()
            tab.goto(f"{page.as_uri()}#task-1-withheld", wait_until="load")
            whole.append(time.perf_counter() - begin)
            tab.locator("#task-1 .chart .live svg").first.wait_for()
            drawn.append(time.perf_counter() - begin)
            tab.close()
        browser.close()
    return statistics.median(whole), statistics.median(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/page.json"))
    arguments = parser.parse_args()
    rows = []
    print("| study | page, MB | made in, s | open, s | first chart, s |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (clips, classes) in SIZES.items():
            page = Path(folder) / "report.html"
            begin = time.perf_counter()
            modalens.report(predictions(clips, classes), page, bootstrap=200)
            made = time.perf_counter() - begin
            whole, drawn = opened(page)
            rows.append(
                {"study": name, "bytes": page.stat().st_size, "made_s": made, "open_s": whole, "chart_s": drawn}
            )
            print(f"| {name} | {page.stat().st_size / 1e6:.1f} | {made:.0f} | {whole:.1f} | {drawn:.1f} |", flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({"machine": machine(), "pages": rows}, indent=1))


if __name__ == "__main__":
    main()
