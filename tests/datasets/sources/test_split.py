import json

import pytest

from ct_vae.config.data import PhantomConfig
from tests._small import ct_volume
from tests.datasets._files import write_csv, write_list, write_volumes
from tests.datasets.sources._splitting import keys, refusal, split


@pytest.fixture
def folder(tmp_path):
    return write_volumes(tmp_path, "a", "b", "c")


def test_phantoms_are_what_comes_without_a_source():
    found = split()
    assert keys(found.train)[:3] == ["thorax_0000", "abdomen_0001", "head_0002"]
    assert keys(found.val) == ["thorax_0006"]
    seeds = {c.seed for c in [*found.train, *found.val]}
    assert len(seeds) == len(found.train) + len(found.val)


def test_settings_of_phantoms_are_followed():
    config = PhantomConfig(train=2, val=1, anatomies=("head",), seed=9, spacing_mm=(12.0,) * 3)
    found = split(phantoms=config)
    assert keys([*found.train, *found.val]) == ["head_0009", "head_0010", "head_0011"]
    assert found.val[0].load().grid.spacing_mm == (12, 12, 12)


def test_a_datalist_takes_paths_and_objects_from_its_own_folder(folder):
    found = split(
        **write_list(folder, training=[{"image": "a.nii.gz"}, "b.nii.gz"], validation=["c.nii.gz"])
    )
    assert keys(found.train) == ["a.nii.gz", "b.nii.gz"]
    assert found.val[0].load().grid == ct_volume().grid


def test_a_table_takes_paths_from_its_own_folder(folder):
    found = split(**write_csv(folder, "image,split\na.nii.gz,train\nc.nii.gz,val\n"))
    assert keys(found.train) == ["a.nii.gz"]
    assert keys(found.val) == ["c.nii.gz"]


def test_all_problems_of_a_datalist_are_reported_at_once(folder):
    text = refusal(
        **write_list(
            folder,
            training=[
                "x.nii.gz",
                {"label": "a"},
                "a.nii.gz",
                "./a.nii.gz",
                {"image": "b.nii.gz", "patient": 7},
            ],
            validation=[{"image": "c.nii.gz", "subject": "7"}, "a.nii.gz"],
            test=[],
        )
    )
    for words in (
        "5 problems",
        "training[0] x.nii.gz is missing",
        "training[1] needs a path",
        "training[3] ./a.nii.gz is listed twice",
        "a volume is in training (a.nii.gz) and validation (a.nii.gz)",
        "patient '7' is in training (b.nii.gz) and validation (c.nii.gz)",
    ):
        assert words in text


def test_all_problems_of_a_table_are_reported_at_once_with_their_lines(folder):
    text = refusal(
        **write_csv(
            folder,
            "image,split,patient\n"
            "a.nii.gz,train,p1\n"
            "x.nii.gz,train,p2\n"
            "b.nii.gz,holdout,p3\n"
            "c.nii.gz,val,p1\n",
        )
    )
    for words in (
        "3 problems",
        "line 3 x.nii.gz is missing",
        "line 4 split 'holdout'",
        "patient 'p1' is in training (a.nii.gz) and validation (c.nii.gz)",
    ):
        assert words in text


def test_a_patient_of_the_test_list_may_not_train_although_the_test_volume_is_elsewhere(folder):
    text = refusal(
        **write_list(
            folder,
            training=[{"image": "a.nii.gz", "patient": "p"}],
            test=[{"image": "elsewhere.nii.gz", "patient": "p"}],
        )
    )
    assert "patient 'p' is in training (a.nii.gz) and test (elsewhere.nii.gz)" in text
    found = split(**write_list(folder, training=["a.nii.gz"], test=["elsewhere.nii.gz"]))
    assert (keys(found.train), keys(found.val)) == (["a.nii.gz"], [])


def test_the_list_of_a_training_set_may_not_be_empty(folder):
    assert "'training' is missing or empty" in refusal(
        **write_list(folder, validation=["a.nii.gz"])
    )
    for near in ("train", "trainings"):
        text = refusal(**write_list(folder, **{near: ["a.nii.gz"]}))
        assert f"did you mean 'training' by '{near}'?" in text
    assert "'validation' is missing or empty" in refusal(
        **write_list(folder, training=["a.nii.gz"], validation={"image": "b.nii.gz"})
    )
    assert "no row is a training case" in refusal(
        **write_csv(folder, "image,split\na.nii.gz,val\n")
    )


def test_an_empty_list_of_validation_trains_without_and_says_so(folder):
    found = split(**write_list(folder, training=["a.nii.gz", "b.nii.gz"], validation=[]))
    assert (keys(found.train), keys(found.val)) == (["a.nii.gz", "b.nii.gz"], [])
    assert [note.split(",")[0] for note in found.notes] == ["there is no validation case"]
    divided = write_list(folder, training=["a.nii.gz", "b.nii.gz"], validation=[])
    found = split(**divided, val_share=0.5)
    assert len(found.train) == len(found.val) == 1
    assert list(found.notes) == []


@pytest.mark.parametrize("name", ["test", "testing"])
def test_a_volume_for_test_may_not_train_or_validate_whatever_its_list_is_called(folder, name):
    entries = {"training": ["a.nii.gz"], "validation": ["b.nii.gz"]}
    for side, image in (("training", "a.nii.gz"), ("validation", "b.nii.gz")):
        text = refusal(**write_list(folder, **entries, **{name: [{"image": f"./{image}"}]}))
        assert f"a volume is in {side} ({image}) and test ({image})" in text
    assert keys(split(**write_list(folder, **entries, **{name: ["c.nii.gz"]})).train) == [
        "a.nii.gz"
    ]


FOLDS = [
    {"image": "a.nii.gz", "fold": 0},
    {"image": "b.nii.gz", "fold": 1},
    {"image": "c.nii.gz", "fold": 0},
]


def test_folds_that_nobody_chooses_from_are_reported(folder):
    found = split(**write_list(folder, training=FOLDS, testing=[]))
    assert keys(found.train) == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    assert found.notes[0].startswith("all folds (0, 1) are used for training")


@pytest.mark.parametrize("kind", ["list", "table"])
def test_a_fold_that_is_chosen_validates_and_the_others_train(folder, kind):
    rows = "".join(f"{e['image']},{e['fold']}\n" for e in FOLDS)
    named = (
        write_list(folder, training=[*FOLDS, "d.nii.gz"])
        if kind == "list"
        else write_csv(folder, f"image,fold\n{rows}d.nii.gz,3\n")
    )
    write_volumes(folder, "d")
    found = split(**named, fold=0)
    assert keys(found.val) == ["a.nii.gz", "c.nii.gz"]
    assert keys(found.train) == ["b.nii.gz", "d.nii.gz"]
    assert list(found.notes) == []


def test_folds_that_cannot_be_are_refused(folder):
    named = write_list(folder, training=FOLDS)
    assert "no training case is in fold 7 of data.fold; they have 0, 1" in refusal(**named, fold=7)
    patients = [{**entry, "patient": 1} for entry in FOLDS]
    text = refusal(**write_list(folder, training=patients), fold=0)
    assert "patient '1' is in training (b.nii.gz) and validation (a.nii.gz)" in text
    both = write_list(folder, training=FOLDS[:2], validation=["c.nii.gz"])
    assert "a list of validation cases exclude each other" in refusal(**both, fold=0)
    one = write_list(folder, training=[FOLDS[0]])
    assert "none is left" in refusal(**one, fold=0)
    none = write_list(folder, training=["a.nii.gz"])
    assert "they have none" in refusal(**none, fold=0)
    for bad in ("1", True, 0.5):
        text = refusal(**write_list(folder, training=[{"image": "a.nii.gz", "fold": bad}]))
        assert "'fold' is a whole number" in text
    assert "fold 'x' is not a whole number" in refusal(
        **write_csv(folder, "image,fold\na.nii.gz,x\n")
    )


def test_every_list_of_volumes_that_is_not_read_is_reported(folder):
    found = split(
        **write_list(
            folder,
            training=["a.nii.gz"],
            validation=["b.nii.gz"],
            unlabeled=["c.nii.gz", "d.nii.gz"],
            more=[{"image": "x.nii.gz"}],
            labels=["background", "liver"],
            numTraining=1,
            modality={"0": "CT"},
        )
    )
    assert list(found.notes) == [
        "list 'unlabeled' of 2 entries is not read",
        "list 'more' of 1 entries is not read",
    ]


def test_a_split_by_share_keeps_patients_together_and_in_their_place(tmp_path):
    names = [f"p{i:02d}_{k}" for i in range(30) for k in range(2)]
    write_volumes(tmp_path, *names, shape=(4, 4, 4))
    found = split(train=(str(tmp_path),), val_share=0.3)
    sides = [{key[:3] for key in keys(cases)} for cases in (found.train, found.val)]
    assert not sides[0] & sides[1]
    assert len(found.train) + len(found.val) == 60
    assert 3 <= len(sides[1]) <= 16
    write_volumes(tmp_path, "p30_0", "aa_7", shape=(4, 4, 4))
    more = split(train=(str(tmp_path),), val_share=0.3)
    assert set(keys(found.val)) <= set(keys(more.val))
    assert set(keys(found.train)) <= set(keys(more.train))
    larger = split(train=(str(tmp_path),), val_share=0.6)
    assert set(keys(more.val)) < set(keys(larger.val))


def test_a_split_by_share_takes_named_patients_and_paths_of_lists(tmp_path):
    names = [f"imagesTr/lung_{i:03d}" for i in range(20)]
    write_volumes(tmp_path, *names, shape=(4, 4, 4))
    entries = [{"image": f"{name}.nii.gz", "patient": i % 5} for i, name in enumerate(names)]
    sides = split(**write_list(tmp_path, training=entries), val_share=0.5)
    patients = [{case.patient for case in cases} for cases in (sides.train, sides.val)]
    assert not patients[0] & patients[1]
    assert (len(sides.train), len(sides.val)) == tuple(4 * len(each) for each in patients)
    plain = split(**write_list(tmp_path, training=[f"{n}.nii.gz" for n in names]), val_share=0.5)
    assert min(len(plain.train), len(plain.val)) >= 4


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_share_of_two_patients_takes_one(tmp_path, share):
    write_volumes(tmp_path, "p1_a", "p1_b", "p2_a", shape=(4, 4, 4))
    found = split(train=(str(tmp_path),), val_share=share)
    assert {key[:2] for key in keys(found.train)} != {key[:2] for key in keys(found.val)}
    assert len(found.train) + len(found.val) == 3


def test_a_share_that_leaves_a_side_empty_or_meets_validation_cases_is_refused(folder):
    assert "leaves no case for validation" in refusal(train=(str(folder / "a*"),), val_share=0.01)
    lists = write_list(folder, training=["a.nii.gz"], validation=["b.nii.gz"])
    assert "a list of validation cases exclude each other" in refusal(**lists, val_share=0.5)


def test_a_broken_list_is_reported_by_its_name(tmp_path):
    assert "gone.json: no such file" in refusal(datalist=str(tmp_path / "gone.json"))
    assert "gone.csv: no such file" in refusal(csv=str(tmp_path / "gone.csv"))


def test_the_shipped_examples_have_the_right_shape(repository):
    for kind, name in (("datalist", "example_datalist.json"), ("csv", "example_table.csv")):
        text = refusal(**{kind: str(repository / "data" / name)})
        assert "3 problems" in text
        assert text.count("is missing") == 3


def test_a_datalist_is_data_that_monai_reads_alike(folder):
    from monai.data import load_decathlon_datalist

    lists = write_list(
        folder,
        training=[{"image": "a.nii.gz", "patient": 1}, {"image": "b.nii.gz", "patient": 2}],
        validation=[{"image": "c.nii.gz", "patient": 3}],
    )
    found = split(**lists)
    for name, cases in (("training", found.train), ("validation", found.val)):
        theirs = load_decathlon_datalist(lists["datalist"], data_list_key=name)
        assert [str(case.path) for case in cases] == [item["image"] for item in theirs]
    assert json.loads((folder / "list.json").read_text())
