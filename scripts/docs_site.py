"""Hooks of the documentation site: pages from the code and from notebooks, links to the repository.

mkdocs loads this file (see mkdocs.yml). Reference pages cannot become outdated, because they are
generated whenever the site is built.
"""

from __future__ import annotations

import json
import re
import struct
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "docs" / "notebooks"
# A link out of the folder of documents, which exists in the repository but not on the site.
_OUTSIDE = re.compile(r"\]\(((?:\.\./)+)([^)#]+)(#[^)]*)?\)")
# The theme takes this from another server; the site has a file for it.
_SHIM = "https://unpkg.com/iframe-worker/shim"
_IMAGE = re.compile(r'<img [^>]*?src="([^":]+\.png)"')
_DIAGRAM = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    pages = {
        "reference/commands.md": commands_page(),
        "reference/configuration.md": configuration_page(),
    }
    pages |= {
        f"notebooks/{path.stem}.md": notebook_page(path)
        for path in sorted(NOTEBOOKS.glob("*.ipynb"))
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to files outside the documents to the repository, and draw diagrams as text."""
    folder = (ROOT / "docs" / page.file.src_uri).parent
    return _DIAGRAM.sub(_drawn, _OUTSIDE.sub(lambda link: _to_repository(link, folder), markdown))


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Give images their sizes, so that text does not move when they are loaded."""
    folder = (ROOT / "docs" / page.file.src_uri).parent
    return _IMAGE.sub(lambda image: f"{image[0]}{_size(folder / image[1])}", html)


def _size(path: Path) -> str:
    """Return the size of a PNG file as attributes of an image."""
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    return f' width="{width}" height="{height}"'


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Take the worker for pages that are opened as files from the site itself."""
    above = "../" * page.url.count("/")
    return output.replace(_SHIM, f"{above}javascripts/file_worker.js")


def on_post_template(output_content: str, **_: Any) -> str:
    """Do the same in pages without a source, such as the one for missing pages."""
    return output_content.replace(_SHIM, "/javascripts/file_worker.js")


def commands_page() -> str:
    """Return the reference of all commands."""
    import typer

    from ct_vae.cli.main import app

    return "\n".join(["# Commands\n", *_command(typer.main.get_command(app), "ct-vae", 2)])


def configuration_page() -> str:
    """Return the reference of all keys of a run configuration."""
    from ct_vae.config.load import schema_text

    schema = json.loads(schema_text())
    parts = [
        "# Configuration\n",
        "One JSON file configures a run. `ct-vae config new NAME -o my.json` copies one of the\n"
        "shipped configurations, `ct-vae config check FILE` lists every mistake, and\n"
        "`ct-vae config show FILE` prints all keys with their values. `--set` overrides a key.\n",
        *_keys({"properties": schema["properties"]}, ""),
    ]
    for name, value in schema["properties"].items():
        if "$ref" in value:
            parts += _section(schema, value["$ref"], name)
    return "\n".join(parts)


def notebook_page(path: Path) -> str:
    """Return a notebook as a page: text, code and a link to the file."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    parts.insert(1, f"[Download the notebook]({path.name})")
    return "\n\n".join(parts) + "\n"


def _command(command: Any, name: str, level: int) -> Iterator[str]:
    text = re.sub(r"^Example: (.*)$", r"Example: `\1`", command.help or "", flags=re.MULTILINE)
    yield f"{'#' * level} `{name}`\n"
    yield f"{text}\n"
    children = getattr(command, "commands", None)
    if children:
        yield from _parameters(command.params)
        for child, each in children.items():
            yield from _command(each, f"{name} {child}", level if level > 2 else level + 1)
        return
    words = [_word(p) for p in command.params if not _is_option(p)]
    yield f"```text\n{' '.join([name, '[OPTIONS]', *words])}\n```\n"
    yield from _parameters(command.params)


def _parameters(parameters: Any) -> Iterator[str]:
    """Yield a table for each group of options."""
    groups: dict[str, list[str]] = {}
    for parameter in parameters:
        if not getattr(parameter, "hidden", False) and parameter.name != "help":
            groups.setdefault(_group(parameter), []).append(_parameter(parameter))
    for title, rows in groups.items():
        yield f"| {title} | meaning |\n|---|---|"
        yield from rows
        yield ""


def _group(parameter: Any) -> str:
    group = getattr(parameter, "rich_help_panel", None)
    return group or ("Options" if _is_option(parameter) else "Arguments")


def _parameter(parameter: Any) -> str:
    names = (*parameter.opts, *parameter.secondary_opts)
    if not _is_option(parameter):
        names = (_word(parameter),)
    default = parameter.default
    shown = "" if default is None or default is False or default == [] else f"`{default}`"
    label = ", ".join(f"`{name}`" for name in names)
    choices = get_args(parameter.type_descriptor.annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        label += f": {', '.join(choices)}"
    meaning = f"{parameter.help or ''}{f' Default: {shown}.' if shown else ''}"
    return f"| {_cell(label)} | {_cell(meaning)} |"


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _word(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _section(schema: dict[str, Any], reference: str, name: str) -> Iterator[str]:
    """Yield the keys of a section and of the sections within it."""
    section = _resolved(schema, reference)
    yield f"## `{name}`\n"
    yield f"{_joined(section.get('description', '').split('Raises:')[0])}\n"
    yield from _keys(section, f"{name}.")
    for key, value in section.get("properties", {}).items():
        inner = next((option["$ref"] for option in _options(value) if "$ref" in option), None)
        if inner is not None:
            yield from _section(schema, inner, f"{name}.{key}")


def _keys(section: dict[str, Any], prefix: str) -> Iterator[str]:
    yield "| key | meaning |\n|---|---|"
    for key, value in section["properties"].items():
        is_section = any("$ref" in option for option in _options(value))
        kind = _type(value)
        if not is_section and "default" in value:
            kind += f"; default `{json.dumps(value['default'])}`"
        meaning = value.get("description", f"See section `{prefix}{key}`." if is_section else "")
        yield f"| `{prefix}{key}` | {_cell(meaning)}<br>{_cell(kind)} |"
    yield ""


def _type(value: dict[str, Any]) -> str:
    """Return the type of a key in words."""
    if "enum" in value or "const" in value:
        return ", ".join(f"`{json.dumps(v)}`" for v in value.get("enum", [value.get("const")]))
    names = [_type(option) for option in _options(value) if option is not value]
    if names:
        return " or ".join(dict.fromkeys(names))
    if "$ref" in value:
        return "section"
    if value.get("type") == "array":
        inner = value.get("items") or next(iter(value.get("prefixItems", [])), {})
        return f"list of {_type(inner)}"
    return str(value.get("type", "any"))


def _options(value: dict[str, Any]) -> list[dict[str, Any]]:
    return value.get("anyOf") or value.get("oneOf") or value.get("allOf") or [value]


def _resolved(schema: dict[str, Any], reference: str) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"][reference.rsplit("/", 1)[1]]
    return found


def _cell(text: str) -> str:
    return _joined(text).replace("|", "\\|")


def _joined(text: str) -> str:
    return " ".join(text.split())


def _to_repository(link: re.Match[str], folder: Path) -> str:
    target = (folder / link[1] / link[2]).resolve()
    if target.is_relative_to(ROOT / "docs"):
        return link[0]
    return f"]({_repository()}/blob/main/{target.relative_to(ROOT)}{link[3] or ''})"


def _repository() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["urls"]["Repository"])


def _drawn(diagram: re.Match[str]) -> str:
    labels = re.findall(r'\w+\["([^"]+)"\]', diagram[1])
    return "```text\n" + "\n  ↓\n".join(labels) + "\n```"
