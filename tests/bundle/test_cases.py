import json

import numpy as np
import pytest

from ct_vae.bundle import CaseDataset, CaseRunner
from ct_vae.errors import ConfigError, CtVaeError
from ct_vae.evaluation.settings import build_settings
from ct_vae.io import read_latent, read_volume, write_volume
from ct_vae.latent import Latent
from tests._small import small_codec
from tests.bundle._run import run, same_image, same_record
from tests.cli._run import call

# MONAI says so of every configuration; this one is of the test's own making.
pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")


def test_encode_and_decode_are_those_of_the_commands(bundle, model_folder, ct_folder, tmp_path):
    run(bundle, "encode", ct_folder, tmp_path / "a", **{"inferer#max_memory_gb": 4})
    given = ("--max-memory-gb", 4)
    assert call("encode", model_folder, ct_folder, "-o", tmp_path / "b", *given)[0] == 0
    for name in ("a_latent", "b_latent"):
        same_image(tmp_path / "a" / f"{name}.nii.gz", tmp_path / "b" / f"{name}.nii.gz")
        same_record(tmp_path / "a" / f"{name}.json", tmp_path / "b" / f"{name}.json")
    run(bundle, "decode", tmp_path / "a", tmp_path / "c")
    assert call("decode", model_folder, tmp_path / "b", "-o", tmp_path / "d")[0] == 0
    for name in ("a_decoded.nii.gz", "b_decoded.nii.gz"):
        same_image(tmp_path / "c" / name, tmp_path / "d" / name)


def test_inference_is_the_command_reconstruct(bundle, model_folder, ct_folder, tmp_path):
    run(bundle, "inference", ct_folder, tmp_path / "a")
    assert call("reconstruct", model_folder, ct_folder, "-o", tmp_path / "b")[0] == 0
    for name in ("a_reconstruction.nii.gz", "b_reconstruction.nii.gz"):
        same_image(tmp_path / "a" / name, tmp_path / "b" / name)


def test_evaluate_writes_the_requested_results(bundle, ct_folder, tmp_path):
    small = {"evaluation#protocol": "maisi", "evaluation#panels": False}
    run(bundle, "evaluate", ct_folder, tmp_path, **small)
    text = (tmp_path / "metrics.csv").read_text()
    assert "case_0001,reconstruction" in text
    assert "case_0002,reconstruction" in text
    assert "maisi" in json.loads((tmp_path / "protocol.json").read_text())["follows"].lower()
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".json", ".html"}


def test_a_refused_case_is_reported_after_the_others(bundle, ct_folder, tmp_path):
    cases = tmp_path / "ct"
    cases.mkdir()
    (cases / "a.nii.gz").write_bytes(b"nothing")
    (cases / "b.nii.gz").write_bytes((ct_folder / "b.nii.gz").read_bytes())
    runner = CaseRunner("encode", small_codec(), CaseDataset(cases), tmp_path / "out")
    with pytest.raises(CtVaeError, match="encode: at least one case failed"):
        runner.run()
    assert (tmp_path / "out" / "b_latent.nii.gz").is_file()
    assert (tmp_path / "out" / "failures.jsonl").is_file()


def test_a_data_set_reads_when_it_is_asked(ct_folder):
    data = CaseDataset(str(ct_folder))
    assert [data[i].grid.shape for i in range(len(data))] == [(13, 10, 11), (9, 14, 8)]


def test_tasks_and_data_that_do_not_fit_are_refused(ct_folder, tmp_path):
    data = CaseDataset(str(ct_folder))
    with pytest.raises(ConfigError, match=r"a task is reconstruct, .* got 'train'"):
        CaseRunner("train", small_codec(), data, tmp_path)
    with pytest.raises(ConfigError, match="decode got a dataset of CT"):
        CaseRunner("decode", small_codec(), data, tmp_path)


def test_cases_are_read_as_the_data_set_was_configured(ct_folder, tmp_path):
    lower = CaseDataset(str(ct_folder), hu_offset=-10)
    plain = CaseDataset(str(ct_folder))
    assert np.array_equal(lower[0].voxels, plain[0].voxels - 10)
    codec = small_codec()
    CaseRunner("encode", codec, lower, tmp_path).run()
    latents = CaseDataset(str(tmp_path), latents=True)
    assert isinstance(latents[0], Latent)
    stored = latents[0].array
    # Stored in 16 bits.
    off, other = (np.abs(codec.encode(data[0]).array - stored).max() for data in (lower, plain))
    assert off < 0.1 * other
    with pytest.raises(ConfigError, match=r"no option 'hu_ofset'; did you mean hu_offset"):
        CaseDataset(str(ct_folder), hu_ofset=-10)


def test_cases_of_one_name_can_be_evaluated_but_not_written(ct_folder, tmp_path):
    for name in ("a.nii", "a.nii.gz"):
        write_volume(read_volume(ct_folder / "a.nii.gz"), tmp_path / "ct" / name)
    data = CaseDataset(str(tmp_path / "ct"))
    cheap = build_settings(metrics="errors", panels=False, report=False)
    CaseRunner("evaluate", small_codec(), data, tmp_path / "out", cheap).run()
    assert "case_0002" in (tmp_path / "out" / "metrics.csv").read_text()
    with pytest.raises(ConfigError, match="would be the result of"):
        CaseRunner("encode", small_codec(), data, tmp_path / "out").run()


def test_the_way_of_volumes_is_that_of_the_inferer(bundle, ct_folder, tmp_path):
    run(bundle, "encode", ct_folder / "a.nii.gz", tmp_path, **{"inferer#tiling": "blend"})
    assert read_latent(tmp_path / "a_latent.nii.gz").record.tiling.method == "blend"


def test_failures_are_logged_as_such_and_reported_with_their_list(tmp_path, caplog):
    (tmp_path / "a.nii.gz").write_bytes(b"nothing")
    runner = CaseRunner("encode", small_codec(), CaseDataset(str(tmp_path)), tmp_path / "out")
    with (
        caplog.at_level("WARNING"),
        pytest.raises(CtVaeError, match=r"see .*out/failures\.jsonl"),
    ):
        runner.run()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "a.nii.gz" in caplog.text
