"""How a chart is drawn and written: one style, a Vega-Lite specification for the page, SVG and PNG of the same.

vl-convert draws in a thread of its own while the next specification is made; it does not hold Python's lock.
"""

import json
import os
import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt
import vl_convert

from modalens.utils.errors import UserError

INK = "#333333"
# Seen on white and on the dark page alike: at least 3 to 1 against both.
NEUTRAL = "#767676"
WIDTH = 560  # pixels of a chart in print; on the page it fills its column
PNG_SCALE = 1.5
WORDS: dict[str, Any] = {
    "labelFontSize": 12,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
    "labelColor": INK,
    "titleColor": INK,
}
CONFIG: dict[str, Any] = {
    "background": "white",
    "font": "system-ui, Segoe UI, Roboto, Helvetica Neue, Arial, DejaVu Sans, sans-serif",
    "view": {"stroke": None},
    "axis": {**WORDS, "labelLimit": 190, "gridColor": "#e4e4e4", "domainColor": "#888888", "tickColor": "#888888"},
    "axisY": {"minExtent": 60},
    "legend": {**WORDS, "orient": "top", "labelLimit": 260, "columns": 3, "symbolLimit": 40},
}


@cache
def _started() -> tuple[ThreadPoolExecutor, int]:
    """What draws, one drawing after the other as they are numbered in their order, and the process that it is in."""
    return ThreadPoolExecutor(1), os.getpid()


def _drawer() -> ThreadPoolExecutor:
    """Raises UserError in a process that was forked since: neither its thread nor vl-convert's own are there, and a
    drawing would be waited for without end."""
    drawer, process = _started()
    if process != os.getpid():
        raise UserError(
            "a page cannot be drawn in a process that was forked after another page was drawn; start it by "
            "multiprocessing's method 'spawn'"
        )
    return drawer


@dataclass(frozen=True)
class RenderedChart:
    """One chart as it is written: name (of its files), spec (Vega-Lite, JSON), svg (text), png (bytes), and what it
    shows in words."""

    name: str
    spec: str
    words: str
    _drawn: Future[tuple[str, bytes]]

    @property
    def svg(self) -> str:
        return self._drawn.result()[0]

    @property
    def png(self) -> bytes:
        return self._drawn.result()[1]

    def element(self) -> str:
        """HTML: the SVG for print and where no script runs, and the specification that takes its place."""
        words = _attribute(self.words)
        return (
            f'<div class="chart" data-words="{words}"><div class="static">{self.svg}</div>'
            f'<script type="application/json">{script_safe(self.spec)}</script></div>'
        )


def render(name: str, chart: alt.TopLevelMixin, words: str) -> RenderedChart:
    """words: what the chart shows, for who cannot see it."""
    spec = _stable(chart.to_dict(), {})
    spec["config"] = CONFIG
    spec.pop("$schema", None)
    # Without the words of each mark: the drawing as a whole is described, and stays short.
    still = {**spec, **_settled(spec), "config": {**CONFIG, "aria": False}}
    text = json.dumps(spec, ensure_ascii=False, separators=(",", ":"))
    return RenderedChart(name, text, words, _drawer().submit(_draw, name, still, words))


def _settled(spec: dict[str, Any]) -> dict[str, Any]:
    """The title of a drawing that has no menus: what they begin with."""
    menus = [one for one in spec.get("params", []) if one.get("bind", {}).get("input") == "select"]
    if not menus:
        return {}
    text = ", ".join(f"{one['bind']['name'].strip()}: {one['value']}" for one in menus)
    return {"title": {"text": text, "anchor": "start", "fontSize": 12, "fontWeight": "normal", "color": INK}}


def _draw(name: str, spec: dict[str, Any], words: str) -> tuple[str, bytes]:
    """SVG and PNG."""
    svg = vl_convert.vegalite_to_svg(spec)
    png = vl_convert.svg_to_png(svg, scale=PNG_SCALE)
    svg = _own_ids(svg, re.sub(r"\W", "_", name))
    # The drawing is one picture to who cannot see it; its marks have no words, and parts without any are a fault.
    svg = re.sub(r' (?:role="graphics-\w+"|aria-roledescription="[^"]*")', "", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{_attribute(words)}" ', 1), png


def _own_ids(svg: str, prefix: str) -> str:
    """Several charts share one page, and Vega numbers over all charts of a process."""
    for index, name in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg))):
        svg = re.sub(rf'(\bid="|url\(#|href="#){re.escape(name)}(?=[")])', rf"\g<1>{prefix}-{index}", svg)
    return svg


def _stable(part: Any, views: dict[str, str]) -> Any:
    """The same specification for the same chart: Altair numbers its views over all charts of a process. Characters that
    SVG cannot hold, which end its renderer, become question marks."""
    if isinstance(part, dict):
        return {_stable(key, views): _stable(value, views) for key, value in part.items()}
    if isinstance(part, list):
        return [_stable(value, views) for value in part]
    if not isinstance(part, str):
        return part
    if re.fullmatch(r"view_\d+", part):
        return views.setdefault(part, f"view_{len(views)}")
    return "".join(letter if letter.isprintable() else "?" for letter in part)


@cache
def bundle() -> Future[str]:
    """Vega, Vega-Lite and vega-embed as one script, begun by the first call: vl-convert carries them, nothing is
    fetched."""
    return _drawer().submit(lambda: script_safe(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")))


def script_safe(text: str) -> str:
    """Text for a <script>: what would end it, or open a comment, is written otherwise. In JSON and in JavaScript's
    strings and regular expressions it means the same."""
    return re.sub(r"<(?=/?script|!--)", r"\\u003c", text, flags=re.IGNORECASE)


def _attribute(words: str) -> str:
    return words.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
