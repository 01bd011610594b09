import json

import pytest

from ct_vae.config.default_models import default_models
from tests.cli._run import call


@pytest.fixture(scope="module")
def rows():
    code, text = call("models", "--json")
    assert code == 0
    return json.loads(text)


def test_sizes_are_stated_once_for_each_model(rows):
    code, text = call("models")
    assert code == 0
    assert [row["name"] for row in rows] == list(default_models())
    for row in rows:
        assert text.count(f"become {row['channels']} numbers") == 1
        # The rest of the first paragraph of the card.
        assert row["summary"].partition(". ")[2] in text
    assert len(text.splitlines()) == 2 * len(rows)


def test_a_summary_that_does_not_repeat_the_sizes_is_complete(tmp_path, monkeypatch, rows):
    from ct_vae.config import default_models as module

    card = tmp_path / "MODEL_CARD.md"
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(module.find_model("ct-f4") / name)
    card.write_text("# ct-f4\n\nSmall. It is fast.\n")
    monkeypatch.setattr(module, "default_models", lambda: ("ct-f4",))
    monkeypatch.setattr(module, "find_model", lambda _: tmp_path)
    assert call("models")[1].splitlines()[1] == "  Small. It is fast."
