import json
import runpy

from ct_vae.io import write_volume
from tests._forked import process
from tests._small import ct_volume


def test_forms_are_measured_on_a_volume(model_folder, tmp_path):
    write_volume(ct_volume((40, 36, 33)), tmp_path / "a.nii.gz")
    done = process(
        tmp_path / "a.nii.gz",
        *("--models", model_folder, "--steps", "1", "4", "--json", tmp_path / "rows.json"),
        script="scripts/measure_latents.py",
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["form"] for row in rows] == ["int16", "int8", "coded, step 1", "coded, step 4"]
    assert rows[0]["percent"] == 100
    assert all(0 < row["bytes"] <= rows[0]["bytes"] * 1.5 for row in rows)
    script = runpy.run_path("scripts/measure_latents.py")
    table = script["table_of"]([script["Row"](**row) for row in rows]).splitlines()
    assert "| int16 | int8 | coded, step 1 | coded, step 4 |" in table[0]
    assert len(table) == 3
    assert table[2].count("|") == table[0].count("|") == table[1].count("|")
    assert all(row["rmse_hu"] > 0 and row["predicted_percent"] >= 0 for row in rows)
