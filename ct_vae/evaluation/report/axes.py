"""Axes of small SVG plots in the colors of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from ct_vae.evaluation.pictures.method_styles import MethodStyle
from ct_vae.evaluation.report.listing import MINUS

_WIDTH, _HEIGHT = 340, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 330, 10, 178
# Curves with more points have no dots.
_DOTTED = 12


class Axes:
    """Axes that map values to plot coordinates and draw marks.

    Args:
        x: Limits of the horizontal axis.
        y: Limits of the vertical axis.
        log: True for a logarithmic vertical axis.
        log_x: True for a logarithmic horizontal axis.
    """

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        log: bool = False,
        log_x: bool = False,
    ) -> None:
        self._x, self._y, self._log, self._log_x = x, y, log, log_x

    def right(self, value: float) -> float:
        """Return the horizontal coordinate of a value."""
        low, high, value = (_scaled(v, self._log_x) for v in (*self._x, value))
        return _LEFT + (_RIGHT - _LEFT) * (min(max(value, low), high) - low) / (high - low)

    def up(self, value: float) -> float:
        """Return the vertical coordinate of a value, from the top as in SVG."""
        low, high, value = (_scaled(v, self._log) for v in (*self._y, value))
        return _BOTTOM - (_BOTTOM - _TOP) * (min(max(value, low), high) - low) / (high - low)

    def bar(self, left: float, right: float, value: float) -> str:
        """Return a bar from the bottom to a value."""
        a, b, top = self.right(left), self.right(right), self.up(value)
        return (
            f'<rect x="{a:.1f}" y="{top:.1f}" width="{max(b - a - 0.5, 0.5):.1f}" '
            f'height="{_BOTTOM - top:.1f}"/>'
        )

    def dot(self, x: float, y: float) -> str:
        """Return a point."""
        return f'<circle class="dot" cx="{self.right(x):.1f}" cy="{self.up(y):.1f}" r="1.8"/>'

    def level(self, y: float, *, dashed: bool) -> str:
        """Return a horizontal line."""
        name = "line dashed" if dashed else "line"
        place = f"{self.up(y):.1f}"
        return f'<line class="{name}" x1="{_LEFT}" x2="{_RIGHT}" y1="{place}" y2="{place}"/>'

    def curve(self, x: NDArray[np.float64], y: NDArray[np.float64], *, dashed: bool) -> str:
        """Return a line through points; non-finite values are skipped."""
        finite = np.isfinite(x) & np.isfinite(y)
        points = " ".join(
            f"{self.right(a):.1f},{self.up(b):.1f}"
            for a, b in zip(x[finite], y[finite], strict=True)
        )
        return f'<polyline class="{"line dashed" if dashed else "line"}" points="{points}"/>'

    def colored_curve(
        self, x: NDArray[np.float64], y: NDArray[np.float64], style: MethodStyle, *, bold: bool
    ) -> str:
        """Return the line of a method in its color, with a dot at each point if they are few."""
        places = [(self.right(a), self.up(b)) for a, b in zip(x, y, strict=True)]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        dashes = f' stroke-dasharray="{" ".join(map(str, style.dashes))}"' if style.dashes else ""
        line = (
            f'<polyline fill="none" stroke="{style.color}" stroke-width="{2.2 if bold else 1.5}"'
            f'{dashes} points="{points}"/>'
        )
        if len(places) > _DOTTED:
            return line
        dots = (
            f'<circle fill="{style.color}" cx="{a:.1f}" cy="{b:.1f}" r="2"/>' for a, b in places
        )
        return line + "".join(dots)

    def figure(self, title: str, x: str, y: str, marks: Sequence[str], note: str) -> str:
        """Return the complete plot with axes and caption."""
        middle = (_TOP + _BOTTOM) / 2
        names = (
            f'<text x="{(_LEFT + _RIGHT) / 2}" y="{_HEIGHT - 6}" class="middle">{escape(x)}</text>'
            f'<text transform="translate(11 {middle}) rotate(-90)" class="middle">'
            f"{escape(y)}</text>"
        )
        return (
            f'<figure class="plot"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
            f'aria-label="{escape(title)}: {escape(note)}">{self._frame()}{"".join(marks)}{names}'
            f"</svg><figcaption><b>{escape(title)}</b> {escape(note)}</figcaption></figure>"
        )

    def _frame(self) -> str:
        parts = []
        for value in _powers(*self._x) if self._log_x else _ticks(*self._x):
            at = f"{self.right(value):.1f}"
            parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{_TOP}" y2="{_BOTTOM}"/>')
            parts.append(f'<text x="{at}" y="{_BOTTOM + 14}" class="middle">{_label(value)}</text>')
        for value in _powers(*self._y) if self._log else _ticks(*self._y):
            at = f"{self.up(value):.1f}"
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{at}" y2="{at}"/>')
            parts.append(
                f'<text x="{_LEFT - 5}" y="{at}" dy="3.5" class="end">{_label(value)}</text>'
            )
        return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Return four to eight round tick values."""
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Return powers of ten, or also their double and fivefold over short ranges."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if last - first > 3:
        steps = range(round(math.log10(low)), last + 1, max(1, (last - first) // 4))
        return [10.0**n for n in steps]
    values = (m * 10.0**n for n in range(first, last + 1) for m in (1, 2, 5))
    return [value for value in values if low <= value <= high]


def _scaled(value: float, log: bool) -> float:
    return math.log10(max(value, 1e-300)) if log else value


def _label(value: float) -> str:
    text = f"{value:.0e}" if 0 < abs(value) < 1e-4 else f"{value:.6g}"
    return text.replace("-", MINUS)
