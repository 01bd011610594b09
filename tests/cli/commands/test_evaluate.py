import csv
import json

from ct_vae.io import write_volume
from ct_vae.phantoms.make_phantom import make_phantom
from tests._small import ct_volume
from tests.cli._run import call

QUIET = ("--no-panels", "--no-report")


def test_errors_stand_beside_those_of_the_baselines(model_folder, tmp_path):
    write_volume(make_phantom("thorax", 3, 8.0), tmp_path / "in" / "patient_name.nii.gz")
    write_volume(ct_volume((16, 16, 12)), tmp_path / "in" / "z.nii.gz")
    out = tmp_path / "out"
    code, text = call("evaluate", model_folder, tmp_path / "in", "-o", out)
    assert code == 0
    assert {p.name for p in out.iterdir()} == {
        "metrics.csv",
        "summary.json",
        "protocol.json",
        "cases.csv",
        "report.html",
        "case_0001.png",
        "case_0002.png",
    }
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["what"] for row in rows} == {
        "reconstruction",
        "identity",
        "klt",
        "resample",
        "mean",
        "jpeg2000",
    }
    assert {(row["window"], float(row["data_range"])) for row in rows} == {
        ("full", 4024),
        ("lung", 1500),
        ("soft_tissue", 400),
        ("bone", 1800),
    }
    assert json.loads((out / "summary.json").read_text())["cases"] == 2
    for file in out.iterdir():
        assert b"patient_name" not in file.read_bytes()
    assert "RMSE" in text
    assert f"results: {out / 'metrics.csv'}, {out / 'report.html'}\n" in text


def test_latents_are_measured_and_removed_by_the_next_evaluation(model_folder, tmp_path):
    write_volume(ct_volume((16, 16, 12)), tmp_path / "scan.nii.gz")
    evaluate = ("evaluate", model_folder, tmp_path / "scan.nii.gz", "-o", tmp_path / "out")
    code, text = call(*evaluate, "--latent")
    assert code == 0
    assert "latent std" in text
    found = json.loads((tmp_path / "out" / "latent.json").read_text())
    assert set(found) == {"case_0001"}
    assert found["case_0001"]["channels"][0]["noise_share"] > 0
    assert (tmp_path / "out" / "case_0001_latent.png").stat().st_size
    assert "Spectrum of the latent" in (tmp_path / "out" / "report.html").read_text("utf-8")
    assert call(*evaluate, *QUIET)[0] == 0
    assert not list((tmp_path / "out").glob("*latent*"))


def test_refused_cases_are_listed_and_the_others_measured(model_folder, tmp_path):
    write_volume(ct_volume(), tmp_path / "in" / "good.nii.gz")
    (tmp_path / "in" / "bad.nii.gz").write_bytes(b"")
    code, _ = call("evaluate", model_folder, tmp_path / "in", "-o", tmp_path, *QUIET)
    assert code == 8
    assert "is empty" in (tmp_path / "failures.jsonl").read_text()
    assert (tmp_path / "metrics.csv").exists()
    assert not list(tmp_path.glob("*.png"))


def test_when_everything_is_refused_no_result_is_left(model_folder, tmp_path):
    write_volume(ct_volume(), tmp_path / "good.nii.gz")
    assert (
        call("evaluate", model_folder, tmp_path / "good.nii.gz", "-o", tmp_path / "out", *QUIET)[0]
        == 0
    )
    (tmp_path / "bad.nii.gz").write_bytes(b"")
    code, _ = call(
        "evaluate", model_folder, tmp_path / "bad.nii.gz", "-o", tmp_path / "out", *QUIET
    )
    assert code == 4
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["failures.jsonl"]


def test_windows_can_be_chosen(model_folder, tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    args = ["evaluate", model_folder, tmp_path / "a.nii.gz", "-o", tmp_path / "out", *QUIET]
    assert call(*args, "--window", "lung", "--window", "kidney:300/80")[0] == 0
    with (tmp_path / "out" / "metrics.csv").open() as file:
        assert {row["window"] for row in csv.DictReader(file)} == {"lung", "kidney"}
    code, text = call(*args, "--window", "nonsense")
    assert (code, "is not a window" in text) == (2, True)


def test_the_same_name_in_two_folders_is_two_cases(model_folder, tmp_path):
    for site in ("s1", "s2"):
        write_volume(ct_volume(), tmp_path / site / "case.nii.gz")
    args = ["evaluate", model_folder, tmp_path / "s1", tmp_path / "s2", *QUIET]
    assert call(*args, "-o", tmp_path / "out", *QUIET)[0] == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["cases"] == 2


def test_phantoms_need_no_input(model_folder, tmp_path):
    code, text = call("evaluate", model_folder, "-o", tmp_path / "out", "--phantom")
    assert code == 0, text
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["probe.json"]
    probe = json.loads((tmp_path / "out" / "probe.json").read_text(), parse_constant=str)
    assert probe["edges"]
    assert call("evaluate", model_folder, "-o", tmp_path / "out")[0] == 3


def test_rate_distortion_curves_are_written(model_folder, tmp_path):
    write_volume(make_phantom("abdomen", 3, 8.0, (48, 40, 10)), tmp_path / "a.nii.gz")
    out = tmp_path / "out"
    args = ("--no-panels", "--metrics", "errors", "--rate-distortion")
    code, text = call("evaluate", model_folder, tmp_path / "a.nii.gz", "-o", out, *args)
    assert code == 0, text
    with (out / "rate_distortion.csv").open() as file:
        methods = list(dict.fromkeys(row["method"] for row in csv.DictReader(file)))
    assert methods[:4] == ["model", "klt", "jpeg2000", "sperr"]
    assert (out / "rate_distortion.png").stat().st_size > 10_000
    assert "JPEG 2000" in (out / "rate_distortion.svg").read_text()
    found = json.loads((out / "summary.json").read_text())["rate_distortion"]
    assert [m["method"] for m in found["body"]["methods"]] == methods[1:]
    assert found["bits_on_disk"] > 0
    # An evaluation without curves removes those of the one before.
    assert call("evaluate", model_folder, tmp_path / "a.nii.gz", "-o", out, *QUIET)[0] == 0
    assert not list(out.glob("rate_distortion*"))
