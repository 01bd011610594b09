import json
import re

from ct_vae.bundle.readme import bundle_readme

METADATA = {"name": "ct-f4", "description": "An autoencoder.", "eval_metrics": {}}


def test_metrics_are_a_table_and_their_absence_is_stated():
    plain = bundle_readme(METADATA)
    assert plain.startswith("# ct-f4\nAn autoencoder.\n")
    assert "This model has no validation metrics." in plain
    measured = {"val_rmse_hu_full": 12.3456, "val_mae_hu_lung": 0.5}
    rows = bundle_readme(METADATA | {"eval_metrics": measured}).splitlines()[-4:]
    assert rows == [
        "| validation metric | value |",
        "|---|---|",
        "| val_rmse_hu_full | 12.35 |",
        "| val_mae_hu_lung | 0.5 |",
    ]


def test_every_configuration_that_the_readme_names_is_in_the_bundle(bundle):
    text = (bundle / "docs/README.md").read_text()
    assert text == bundle_readme(json.loads((bundle / "configs/metadata.json").read_text()))
    named = set(re.findall(r"configs/\w+\.json", text))
    assert len(named) == 6
    assert all((bundle / name).is_file() for name in named)
