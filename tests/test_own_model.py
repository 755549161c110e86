"""The example of docs/own_model.md: networks with real weights, a table of predictions, the page."""

import subprocess
import sys

import pytest
from _checkout import ROOT

pytestmark = pytest.mark.slow

WEIGHTS = ROOT / ".weights"
PRODUCTS = ROOT.parent / "shared" / "data" / "flipkart" / "labels.csv"


def test_titles_and_pictures_of_products_become_a_page_by_the_commands_of_the_docs(tmp_path):
    if not (WEIGHTS / "all-MiniLM-L6-v2").is_dir():
        pytest.skip("no weights here (run `make weights`)")
    if not PRODUCTS.is_file():
        pytest.skip(f"the products of flipkart are not here: {PRODUCTS}")
    script = ROOT / "docs" / "examples" / "products.py"
    first = [script, PRODUCTS, WEIGHTS, tmp_path / "my.parquet", "200"]
    subprocess.run([sys.executable, *map(str, first)], check=True, cwd=tmp_path)
    line = [sys.executable, "-m", "modalens", "report", "--predictions", "my.parquet", "--model", "both"]
    said = subprocess.run([*line, "--bootstrap", "200"], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert said.stdout.strip() == "report: report.html"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "title" in page
    assert "both" in page
