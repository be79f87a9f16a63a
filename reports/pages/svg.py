"""SVG files as parts of an HTML page: no clashing ids, and colours that follow a light or dark page."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable
from html import escape

_COLOR = re.compile(r"#[0-9a-fA-F]{6}\b")


def inline_svg(svg: str, prefix: str, label: str) -> str:
    """An ``<svg>`` element for HTML. prefix: makes its ids unique. label: what a screen reader says."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'((?:xlink:)?href="|url\()#', rf"\1#{prefix}-", body)
    opening, rest = body.split(">", 1)
    opening = re.sub(r'\s(?:width|height|version|xmlns|xmlns:xlink)="[^"]*"', "", opening)
    rest = re.sub(r'\bxlink:href="', 'href="', rest)
    rest = _COLOR.sub(lambda m: f"var({variable(m.group())})", rest)
    return f'{opening} role="img" aria-label="{escape(label, quote=True)}">{rest}'.strip()


def colors(svgs: Iterable[str]) -> tuple[str, ...]:
    """Every colour of SVG sources, lower case, in order."""
    return tuple(sorted({color.lower() for svg in svgs for color in _COLOR.findall(svg)}))


def variable(color: str) -> str:
    """Name of the CSS variable of a colour: ``--c-0072b2``."""
    return f"--c-{color[1:].lower()}"


def on_dark(color: str) -> str:
    """The colour's counterpart on a dark page.

    Greys keep their distance from the background (white becomes the page's own dark); colours keep their
    hue and become light enough to read.
    """
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if max(red, green, blue) - min(red, green, blue) < 0.08:
        lightness = 0.09 + (1 - lightness) * 0.86
    else:
        lightness, saturation = max(lightness, 0.62), min(saturation, 0.85)
    return "#" + "".join(f"{round(255 * c):02x}" for c in colorsys.hls_to_rgb(hue, lightness, saturation))
