import csv
import json

from ct_vae.evaluation.evaluation import Evaluation
from ct_vae.evaluation.measure import Plan
from ct_vae.evaluation.settings import Settings
from ct_vae.evaluation.windows import WINDOWS
from ct_vae.find_volumes.cases import discover
from ct_vae.io import ReadOptions, write_volume
from tests._small import SMALL_CODES, ct_volume, small_codec

CHEAP = Settings(Plan((WINDOWS["full"],), (), ("errors",)), panels=False, report=False)


def test_the_use_of_a_codebook_is_that_of_all_cases(tmp_path):
    for seed in range(2):
        write_volume(ct_volume(seed=seed), tmp_path / "in" / f"{seed}.nii.gz")
    cases = discover([tmp_path / "in"])
    codec = small_codec(base=SMALL_CODES["vq"])
    evaluation = Evaluation(codec, cases, tmp_path / "out", CHEAP, ReadOptions())
    for case in cases:
        evaluation.work(case)
    evaluation.finish()
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["codebook"]
    codes = [set(codec.encode(case.read(ReadOptions())).array.ravel().tolist()) for case in cases]
    assert (found["codebook_size"], found["codes_used"]) == (64, len(set.union(*codes)))
    with (tmp_path / "out" / "cases.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2


def test_models_without_codes_have_no_codebook(tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    cases = discover([tmp_path / "a.nii.gz"])
    evaluation = Evaluation(small_codec(), cases, tmp_path / "out", CHEAP, ReadOptions())
    evaluation.work(cases[0])
    evaluation.finish()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert "codebook" not in summary
    assert "organs" not in summary
    assert summary["bits_per_voxel"] > 0
