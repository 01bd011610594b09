"""The site is built from the code, without a warning and without a network."""

import inspect
import json
import re
import runpy

import pytest

from ct_vae import errors
from ct_vae.config.load import schema_text
from tests.docs.test_snippets import options

pytest.importorskip("mkdocs")


def test_every_page_is_reached_and_nothing_comes_from_other_servers(site, repository):
    pages = list(site.rglob("*.html"))
    sources = list((repository / "docs").rglob("*.md"))
    assert len(pages) >= len(sources) + 4
    for page in pages:
        text = page.read_text("utf-8")
        loaded = re.findall(
            r"<(?:script|img|link)\b[^>]*?(?:src|href)=\"?(https?://[^\"\s>]+)", text
        )
        # An address of the page itself is not loaded.
        assert [url for url in loaded if "canonical" not in url] == [], page


def test_links_between_pages_and_to_headings_exist(site):
    ids = {
        page: set(re.findall(r'\bid="?([^"\s>]+)', page.read_text("utf-8")))
        for page in site.rglob("*.html")
    }
    for page in ids:
        for target in re.findall(r'<a\b[^>]*?href="?([^"\s>]+)', page.read_text("utf-8")):
            path, _, anchor = target.partition("#")
            if ":" in path or page.name == "404.html":
                continue
            where = (page.parent / path).resolve() if path else page
            assert where.exists(), (page, target)
            if anchor and where in ids:
                assert anchor in ids[where], (page, target)


def test_the_references_hold_every_command_option_and_key(repository):
    hooks = runpy.run_path(str(repository / "scripts" / "docs_site.py"))
    commands, keys = hooks["commands_page"](), hooks["configuration_page"]()
    for words, names in options().items():
        assert f"# `{' '.join(('ct-vae', *words))}`" in commands
        for name in names - {"--help", "-h"}:
            if name.startswith("-"):
                assert f"`{name}`" in commands
    for definition in json.loads(schema_text())["$defs"].values():
        for key in definition["properties"]:
            assert re.search(rf"`[\w.]*\b{re.escape(key)}`", keys), key


def test_the_page_of_exit_codes_has_the_codes_of_all_errors(repository):
    text = (repository / "docs" / "reference" / "exit_codes.md").read_text("utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    kinds = inspect.getmembers(errors, inspect.isclass)
    raised = {kind.exit_code for _, kind in kinds if issubclass(kind, errors.CtVaeError)}
    assert raised <= listed


def test_links_to_the_repository_lead_to_files(repository):
    outside = re.compile(r"\]\(((?:\.\./)+[^)#]+)")
    for page in (repository / "docs").rglob("*.md"):
        for target in outside.findall(page.read_text("utf-8")):
            # Two pages are made when the site is built.
            made = target.endswith((".md",)) and "reference/" in target
            assert made or (page.parent / target).exists(), (page, target)
