"""Long description of the package: README.md with absolute links.

Everything else is in ``pyproject.toml``. Links relative to the repository do not work on the page
of a package index.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from setuptools import setup

_HERE = Path(__file__).parent
# A Markdown link or image whose target has no scheme and is no heading of the page itself.
_RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s]+)\)")
_HTML = re.compile(r"(<img\b[^>]*?\bsrc=|<a\b[^>]*?\bhref=)\"(?!https?:|mailto:|#)([^\"]+)\"")


def long_description() -> str:
    """Return README.md with links to the repository that ``[project.urls]`` names."""
    project = tomllib.loads((_HERE / "pyproject.toml").read_text("utf-8"))["project"]
    base = project["urls"]["Repository"]

    def markdown(link: re.Match[str]) -> str:
        kind = "raw" if link[1] else "blob"
        return f"{link[1]}[{link[2]}]({base}/{kind}/main/{link[3]})"

    def html(tag: re.Match[str]) -> str:
        kind = "raw" if tag[1].startswith("<img") else "blob"
        return f'{tag[1]}"{base}/{kind}/main/{tag[2]}"'

    text = (_HERE / "README.md").read_text("utf-8")
    return _HTML.sub(html, _RELATIVE.sub(markdown, text))


setup(long_description=long_description(), long_description_content_type="text/markdown")
