"""Put a trained model into the package: ``ship_model.py RUN NAME --card FILE``.

Weights are rounded to float16 and written to ``ct_vae/weights/NAME`` with configuration, card and
checksums.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ct_vae.models.model_folder import load_model_folder, save_model_folder
from ct_vae.models.weights import CONFIG_KEY, load_metadata

_PACKAGE = Path(__file__).parents[1] / "ct_vae" / "weights"


def main() -> None:
    """Round, write, and tell the size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--card", type=Path, required=True)
    given = parser.parse_args()
    loaded = load_model_folder(given.run)
    config = loaded.config.model_copy(update={"name": given.name})
    texts = {k: v for k, v in load_metadata(given.run).items() if k not in {CONFIG_KEY, "format"}}
    folder = _PACKAGE / given.name
    card = given.card.read_text(encoding="utf-8")
    save_model_folder(folder, loaded.model.half(), config, card, texts)
    again = load_model_folder(folder)
    size = (folder / "model.safetensors").stat().st_size / 1e6
    print(f"{folder}: {size:.1f} MB, sha256 {again.sha256[:12]}")


if __name__ == "__main__":
    main()
