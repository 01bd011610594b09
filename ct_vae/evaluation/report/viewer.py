"""Viewer of pages: its HTML, style, script, data and content security policy."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Literal

from ct_vae.evaluation.windows import WINDOWS

View = Literal["original", "latent", "reconstruction", "error"]
# The first ones define what the last one uses.
_SCRIPTS = ("latent_layer.js", "viewer.js")


def viewer_section(views: Sequence[View], introduction: str, *, single: bool = False) -> str:
    """Return the HTML of the viewer, with empty images that keep its place until it starts.

    Args:
        views: Images to show next to each other.
        introduction: Text above the viewer; is escaped.
        single: True for pages of one case, which need no list of cases.
    """
    hidden = " hidden" if single else ""
    empty = '<figure><figcaption></figcaption><div class="stage"></div></figure>'
    return Template(source("viewer.html")).substitute(
        held=escape(introduction), single=hidden, count=len(views), empty=empty * len(views)
    )


def viewer_data(views: Sequence[View], cases: Iterable[Mapping[str, Any]]) -> str:
    """Return the data of the viewer as JSON that cannot close its HTML element.

    Args:
        views: Images to show next to each other.
        cases: Descriptions of the cases, with their names and places on the page.
    """
    windows = [asdict(window) for window in WINDOWS.values()]
    data = {"views": views, "cases": list(cases), "windows": windows}
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def framed(title: str, notes: str, main: str, data: str, voxels: str) -> str:
    """Return a page with the style, the script and the data of the viewer.

    Args:
        title: Title; is escaped.
        notes: HTML next to the title.
        main: HTML of the content.
        data: Result of `viewer_data`.
        voxels: HTML elements with the packed voxels.
    """
    style, script = source("style.css"), "\n".join(map(source, _SCRIPTS))
    return Template(source("frame.html")).substitute(
        policy=_policy(style, script),
        style=style,
        script=script,
        title=escape(title),
        notes=notes,
        main=main,
        data=data,
        voxels=voxels,
    )


def source(name: str) -> str:
    """Return the text of a file in ``assets``."""
    return files("ct_vae.evaluation.report").joinpath("assets", name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Return a content security policy that allows only this style and this script."""
    kept = (f"'sha256-{_sha256(text)}'" for text in (style, script))
    return (
        "default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    ).format(*kept)


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
