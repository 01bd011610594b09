from dataclasses import replace
from pathlib import Path

import pytest

from ct_vae.errors import ConfigError, NoInputError
from ct_vae.evaluation.pairs import find_results, pair_cases
from ct_vae.find_volumes.cases import Case
from ct_vae.io import write_volume
from tests._small import ct_volume


def cases(*keys):
    return [Case(Path(f"/somewhere/{key}.nii.gz"), key) for key in keys]


@pytest.mark.parametrize(
    "ending", ["", "_recon", "_reconstruction", "-decoded", "_pred", ".rec", "_out", "_RECON"]
)
def test_partners_are_found_whatever_tools_add(ending):
    originals = cases("s1/a", "s1/b", "s2/a")
    results = cases(*(f"{key}{ending}" for key in ("s2/a", "s1/b", "s1/a")))
    pairs = pair_cases(originals, results)
    assert [(o.key, r.key) for o, r in pairs] == [
        (k, f"{k}{ending}") for k in ("s1/a", "s1/b", "s2/a")
    ]


def test_a_flat_folder_of_results_will_do_when_names_are_unique():
    pairs = pair_cases(cases("s1/a", "s2/b"), cases("b_recon", "a_recon"))
    assert [(o.key, r.key) for o, r in pairs] == [("s1/a", "a_recon"), ("s2/b", "b_recon")]


def test_originals_may_end_as_results_do():
    pairs = pair_cases(cases("a_recon", "b_recon"), cases("a_recon", "b_recon_recon"))
    assert [r.key for _, r in pairs] == ["a_recon", "b_recon_recon"]


def test_two_files_are_a_pair_whatever_their_names():
    assert len(pair_cases(cases("a"), cases("z"))) == 1


def test_everything_that_is_wrong_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        pair_cases(cases("a", "b", "c"), cases("a_recon", "a_pred", "c", "d"))
    text = str(caught.value)
    assert "a has several: a_recon and a_pred" in text
    assert "b has no reconstruction" in text
    assert "d matches no original" in text
    with pytest.raises(ConfigError, match="matches s1/a and s2/a"):
        pair_cases(cases("s1/a", "s2/a"), cases("a"))
    # What one original has by its path does not serve another by its name.
    with pytest.raises(
        ConfigError, match="match: s2/a has no reconstruction; s3/z matches no original;"
    ):
        pair_cases(cases("s1/a", "s2/a"), cases("s1/a", "s3/z"))


def test_results_of_this_package_are_found_too(tmp_path):
    write_volume(replace(ct_volume(), derived=True), tmp_path / "sub" / "a_decoded.nii.gz")
    assert [case.key for case in find_results(tmp_path)] == ["sub/a_decoded"]
    assert len(find_results(tmp_path / "sub" / "a_decoded.nii.gz")) == 1
    with pytest.raises(NoInputError):
        find_results(tmp_path / "nothing")
