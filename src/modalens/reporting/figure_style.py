"""How a figure is drawn and written: its style, its panels, what is written on it, SVG and PNG of the same bytes."""

import base64
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

DARK = "#333333"
STYLE: dict[str, Any] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    # A stated height spares matplotlib a second layout of every panel.
    "axes.titley": 1.02,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.color": DARK,
    "ytick.color": DARK,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "modalens",
    # A class may be called "$5 to $10".
    "text.parse_math": False,
}
PNG_DPI = 120


@dataclass(frozen=True)
class RenderedFigure:
    """One figure as it is written: name (of its files), svg (text), png (bytes), what it shows in words."""

    name: str
    svg: str
    png: bytes
    words: str

    def small(self) -> str:
        """HTML of a PNG in few colours, for the page that its SVG would make too long."""
        image = Image.open(io.BytesIO(self.png)).convert("RGB").quantize(32)
        packed = io.BytesIO()
        image.save(packed, "PNG", optimize=True)
        data = base64.b64encode(packed.getvalue()).decode()
        width = round(image.width * 96 / PNG_DPI)
        return f'<img width="{width}" alt="{_attribute(self.words)}" src="data:image/png;base64,{data}">'


def inline(made: dict[str, RenderedFigure], budget: int) -> dict[str, str]:
    """HTML of each figure: its SVG, but PNGs in place of the longest ones until all fit in `budget` characters."""
    shown = {name: drawing.svg for name, drawing in made.items()}
    for name in sorted(made, key=lambda name: -len(made[name].svg)):
        if sum(map(len, shown.values())) <= budget:
            break
        shown[name] = min(made[name].small(), shown[name], key=len)
    return shown


def draw(name: str, make: Callable[[], Figure], words: str) -> RenderedFigure:
    """Make a figure in our style and write it. words: what it shows, for who cannot see it."""
    svg, png = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context(cast(Any, STYLE)), warnings.catch_warnings():
        # The page shows a label in the reader's own fonts; ours need not hold its letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = make()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", dpi=PNG_DPI, metadata={"Software": None})
    text = svg.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Several figures share one page: what they refer to by id must be their own.
    prefix = re.sub(r"\W", "_", name)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{_attribute(words)}" ', 1)
    return RenderedFigure(name, text, png.getvalue(), words)


def _attribute(words: str) -> str:
    return words.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def plain(text: str, limit: int = 26) -> str:
    """A label that fits, on one line, without characters that SVG cannot hold."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(text))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def panels(rows: int, columns: int, width: float, height: float, left: float = 0.6, top: float = 0.55) -> tuple:
    """Figure and axes (rows, columns) with panels of width x height inches; far quicker than a layout engine."""
    gap_x, gap_y, right, bottom = 0.35, 0.6, 0.15, 0.5
    total_x = left + columns * width + (columns - 1) * gap_x + right
    total_y = top + rows * height + (rows - 1) * gap_y + bottom
    figure = Figure(figsize=(total_x, total_y))
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left / total_x, bottom / total_y, 1 - right / total_x, 1 - top / total_y, gap_x / width, gap_y / height
    )
    return figure, axes


def legend(figure: Figure, names: dict[str, str], **marker: Any) -> None:
    style = {"marker": "o", "linestyle": "-", "markersize": 5, **marker}
    handles = [Line2D([], [], color=colour, label=plain(name, 40), **style) for name, colour in names.items()]
    figure.legend(handles=handles, loc="upper left", ncols=len(handles), borderaxespad=0.3, handlelength=1.5)
