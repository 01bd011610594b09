"""Examples in docstrings run and print the documented results."""

import doctest
from importlib import import_module

import pytest

EXAMPLES = {
    "ct_vae.io.volumes": ("read_volume",),
    "ct_vae.inference.codec": ("Codec", "load_codec"),
    "ct_vae.inference.exact_inferer": ("ExactInferer",),
    "ct_vae.models.autoencoder_kl": ("AutoencoderKL",),
    "ct_vae.models.vqvae": ("VQVAE",),
    "ct_vae.models.magvit_vqvae": ("MagvitVQVAE",),
    "ct_vae.models.build": ("build_from_json",),
    "ct_vae.preprocess.hounsfield_transforms": ("ScaleHUd",),
    "ct_vae.preprocess.reader": ("CTReader",),
    "ct_vae.evaluation.case": ("evaluate_case",),
    "ct_vae.training.trainer": ("train",),
}


@pytest.mark.filterwarnings("ignore::ct_vae.models.UntrainedWarning")
# MONAI's loader looks for a decoder of NVIDIA, which is optional.
@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")
@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in EXAMPLES.items() for name in names]
)
def test_an_example_prints_the_documented_results(module, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    documented = getattr(import_module(module), name)
    (example,) = doctest.DocTestFinder(recurse=False).find(documented, name, globs={})
    report: list[str] = []
    results = doctest.DocTestRunner().run(example, out=report.append)
    assert results.attempted, "no example"
    assert not results.failed, "".join(report)
