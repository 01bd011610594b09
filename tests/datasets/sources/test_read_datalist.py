import json
from pathlib import Path

import pytest

from ct_vae.datasets.sources.patient_split import Shares
from ct_vae.datasets.sources.read_datalist import read_datalist
from ct_vae.datasets.sources.write_datalist import Entry, write_datalist
from ct_vae.errors import ConfigError
from ct_vae.io import ReadOptions


def read(folder, **lists):
    path = folder / "list.json"
    path.write_text(json.dumps(lists))
    problems = []
    return read_datalist(path, problems.append), [str(problem) for problem in problems]


def test_entries_are_text_or_objects_and_other_keys_are_ignored(tmp_path):
    entries, problems = read(
        tmp_path,
        name="x",
        numTraining=3,
        training=[
            "a.nii",
            {"image": "b.nii", "label": "l.nii", "fold": 0},
            {"image": "/abs/c.nii", "patient": 12},
            {"image": "s/#s003_ab12cd34", "subject": " p "},
        ],
        validation=[{"image": "d.nii"}],
        test=["e.nii"],
    )
    assert not problems
    assert [(e.where, e.side, e.text, e.patient) for e in entries] == [
        ("training[0]", "train", "a.nii", None),
        ("training[1]", "train", "b.nii", None),
        ("training[2]", "train", "/abs/c.nii", "12"),
        ("training[3]", "train", "s/#s003_ab12cd34", "p"),
        ("validation[0]", "val", "d.nii", None),
        ("test[0]", "test", "e.nii", None),
    ]
    assert entries[0].path == tmp_path / "a.nii"
    assert entries[2].path == Path("/abs/c.nii")


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (3, "needs a path under 'image', got 3"),
        ({"label": "a"}, "needs a path under 'image'"),
        ({"image": ["a.nii", "b.nii"]}, "needs a path under 'image'"),
        ({"image": " "}, "needs a path"),
        ({"image": "a.nii", "patient": None}, "'patient' is a name or a number, got null"),
        ({"image": "a.nii", "patient": True}, "'patient' is a name or a number, got true"),
        ({"image": "a.nii", "patient": 1.5}, "'patient' is a name or a number, got 1.5"),
        ({"image": "a.nii", "subject": ""}, "'subject' is a name"),
        ({"image": "a.nii", "patient": 1, "subject": 2}, "names two patients, 1 and 2"),
    ],
)
def test_strange_entries_are_reported_and_the_others_kept(tmp_path, item, words):
    entries, problems = read(tmp_path, training=["good.nii", item])
    assert [e.text for e in entries] == ["good.nii"]
    assert len(problems) == 1
    assert problems[0].startswith("training[1] ")
    assert words in problems[0]


def test_two_names_of_one_patient_may_agree(tmp_path):
    entries, _ = read(tmp_path, training=[{"image": "a.nii", "patient": 1, "subject": "1"}])
    assert entries[0].patient == "1"


@pytest.mark.parametrize("lists", [{}, {"training": []}, {"training": {"image": "a"}}])
def test_training_is_a_list_that_holds_something(tmp_path, lists):
    assert read(tmp_path, **lists)[1] == ["list 'training' is missing or empty"]


def test_validation_may_be_left_out_and_test_be_empty(tmp_path):
    assert read(tmp_path, training=["a"], test=[])[1] == []
    assert read(tmp_path, training=["a"], validation=None)[1] == [
        "list 'validation' is missing or empty"
    ]


def test_noted_consents_are_followed(tmp_path):
    given = {"hu_offset": -1024, "force": True, "nan": "air", "frame": 2}
    entries, problems = read(tmp_path, training=["a"], read_options=given)
    assert not problems
    assert entries[0].options == ReadOptions(hu_offset=-1024, force=True, nan="air", frame=2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "is an object"),
        ({"forse": True}, "has no 'forse'; there are frame, nan"),
        ({"force": 1}, "'force' cannot be 1"),
        ({"frame": True}, "'frame' cannot be true"),
        ({"hu_offset": "1"}, "'hu_offset' cannot be"),
        ({"nan": "zero"}, "nan must be 'refuse' or 'air'"),
    ],
)
def test_wrong_consents_are_reported_with_other_problems(tmp_path, given, words):
    _, problems = read(tmp_path, training=[3], read_options=given)
    assert len(problems) == 2
    assert words in problems[0]


def test_what_a_scan_writes_is_read_alike(tmp_path):
    entries = [
        Entry(str(tmp_path / "in" / "a.nii"), "training", 1),
        Entry(str(tmp_path / "in" / "#s003_ab12cd34"), "validation", 2),
        Entry(str(tmp_path / "in" / "c.nii"), "test", 3),
    ]
    path = tmp_path / "list.json"
    write_datalist(path, entries, Shares(), ReadOptions(nan="air", hu_offset=-24.0))
    found = read_datalist(path, pytest.fail)
    assert [(e.side, str(e.path), e.patient) for e in found] == [
        (side, entry.path, str(entry.patient))
        for side, entry in zip(("train", "val", "test"), entries, strict=True)
    ]
    assert {e.options for e in found} == {ReadOptions(nan="air", hu_offset=-24.0)}


def test_what_is_no_list_is_refused(tmp_path):
    path = tmp_path / "list.json"
    for text, words in (("[]", "expected a JSON object"), ("{", "not JSON")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            read_datalist(path, pytest.fail)
