"""The notebooks run from the first cell to the last, and are stored without outputs."""

import json

import pytest

NOTEBOOKS = ("first_latent", "latent_diffusion")


@pytest.mark.parametrize(
    "name", ["first_latent", pytest.param("latent_diffusion", marks=pytest.mark.slow)]
)
def test_a_notebook_runs(repository, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((repository / "docs" / "notebooks" / f"{name}.ipynb").read_text("utf-8"))
    assert notebook["nbformat"] == 4
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 4
    names = {"__name__": "notebook"}
    for cell in cells:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        exec(compile("".join(cell["source"]), f"{name}.ipynb", "exec"), names)


def test_every_notebook_is_tested(repository):
    found = {path.stem for path in (repository / "docs" / "notebooks").glob("*.ipynb")}
    assert found == set(NOTEBOOKS)
