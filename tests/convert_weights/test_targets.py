import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ct_vae.convert_weights.targets import (
    export_targets,
    model_targets,
    refuse_own,
    refuse_present,
    refuse_source,
)
from ct_vae.errors import ConfigError

NO_FILES = [".pt", ".pth", ".ckpt", ".bin", ".json"]


def test_models_and_exports_have_weights_and_a_configuration(tmp_path):
    assert model_targets(Path("m")) == (Path("m/model.safetensors"), Path("m/config.json"))
    assert export_targets(Path("m"), "monai") == model_targets(Path("m"))
    weights = Path("m/diffusion_pytorch_model.safetensors")
    assert export_targets(Path("m"), "diffusers") == (weights, Path("m/config.json"))
    one = Path("a.b.safetensors")
    assert export_targets(one, "diffusers") == (one, Path("a.b.json"))


@pytest.mark.parametrize("suffix", NO_FILES)
def test_names_of_files_are_refused(suffix):
    with pytest.raises(ConfigError, match="names a file, a model is a folder"):
        model_targets(Path(f"m{suffix}"))
    with pytest.raises(ConfigError, match="an export is a folder"):
        export_targets(Path(f"m{suffix}"), "monai")


def test_a_file_of_any_name_is_no_folder(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(ConfigError, match="a model is a folder"):
        model_targets(tmp_path / "x")
    with pytest.raises(ConfigError, match="an export is a folder"):
        export_targets(tmp_path / "x", "monai")
    with pytest.raises(ConfigError, match="a model is a folder"):
        model_targets(Path("m.safetensors"))


@pytest.mark.parametrize("there", [0, 1])
def test_one_file_that_is_there_is_enough(tmp_path, there):
    files = model_targets(tmp_path)
    refuse_present(files, overwrite=False)
    files[there].touch()
    with pytest.raises(ConfigError, match=files[there].name):
        refuse_present(files, overwrite=False)
    refuse_present(files, overwrite=True)


@pytest.mark.parametrize("form", ["compvis", "diffusers"])
def test_a_model_folder_is_no_place_for_an_export(model_folder, form):
    with pytest.raises(ConfigError, match="belongs to a model folder of this package"):
        refuse_own(export_targets(model_folder, form))


@pytest.mark.parametrize("name", ["model.safetensors", "config.safetensors"])
def test_neither_is_one_of_its_files(model_folder, name):
    with pytest.raises(ConfigError, match="belongs to a model folder of this package"):
        refuse_own(export_targets(model_folder / name, "monai"))
    refuse_own(export_targets(model_folder / "other.safetensors", "monai"))


@pytest.mark.parametrize("damaged", [True, False])
def test_what_is_not_ours_may_be_replaced(tmp_path, damaged):
    weights, config = export_targets(tmp_path, "monai")
    refuse_own((weights, config))
    save_file({"a": torch.ones(1)}, weights, {"format": "pt"})
    config.write_text(json.dumps({"format": "another"}))
    if damaged:
        weights.write_bytes(b"x")
        config.write_text("{")
    refuse_own((weights, config))


def test_what_is_read_is_not_written_over(tmp_path):
    files = model_targets(tmp_path)
    refuse_source(files, tmp_path)
    files[1].touch()
    for source in (tmp_path, files[1], tmp_path / "sub" / ".."):
        with pytest.raises(ConfigError, match=r"config\.json is the source of the conversion"):
            refuse_source(files, source)
    refuse_source(files, tmp_path / "elsewhere.safetensors")
    refuse_source(files, tmp_path.parent)


def test_a_link_in_a_circle_is_no_target(tmp_path):
    link = tmp_path / "self"
    link.symlink_to(link)
    (tmp_path / "config.json").touch()
    refuse_source(model_targets(tmp_path), link)
    refuse_source([link], tmp_path)
