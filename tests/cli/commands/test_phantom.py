from ct_vae.io import read_volume
from tests.cli._run import call


def test_phantoms_cycle_through_anatomies_with_the_next_seed(tmp_path):
    args = ["phantom", "-o", tmp_path, "--count", 4, "--seed", 7, "--spacing-mm", 12, 12, 15]
    code, text = call(*args)
    assert code == 0
    names = ["thorax_0007", "abdomen_0008", "head_0009", "thorax_0010"]
    assert [line.rpartition("/")[2] for line in text.split()] == [f"{n}.nii.gz" for n in names]
    for name in names:
        volume = read_volume(tmp_path / f"{name}.nii.gz")
        assert volume.grid.spacing_mm == (12, 12, 15)


def test_repeating_gives_the_same_bytes(tmp_path):
    args = [
        "phantom",
        "-o",
        tmp_path,
        "--count",
        1,
        "--anatomy",
        "head",
        "--spacing-mm",
        12,
        12,
        12,
    ]
    call(*args)
    first = (tmp_path / "head_0000.nii.gz").read_bytes()
    call(*args)
    assert (tmp_path / "head_0000.nii.gz").read_bytes() == first


def test_nonsense_is_refused(tmp_path):
    assert call("phantom", "-o", tmp_path, "--anatomy", "foot")[0] == 2
    assert call("phantom", "-o", tmp_path, "--spacing-mm", 0, 1, 1)[0] == 2
