import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.datasets.sources.read_table import read_table
from ct_vae.errors import ConfigError


def read(folder, text, encoding="utf-8"):
    path = folder / "table.csv"
    path.write_bytes(text.encode(encoding))
    problems = []
    return read_table(path, problems.append), [str(problem) for problem in problems]


def rows(folder, text, encoding="utf-8"):
    entries, problems = read(folder, text, encoding)
    assert not problems
    return [(e.where, e.side, e.text, e.patient) for e in entries]


EXPECTED = [("line 2", "train", "a.nii", "p1"), ("line 3", "val", "b, c.nii", "p2")]


@pytest.mark.parametrize(
    "text",
    [
        'image,split,patient\na.nii,train,p1\n"b, c.nii",val,p2\n',
        'image,split,patient\r\na.nii,training,p1\r\n"b, c.nii",validation,p2',
        '\ufeffimage,split,patient\na.nii,train,p1\n"b, c.nii",val,p2\n',
        "image;split;patient\na.nii;train;p1\nb, c.nii;val;p2\n",
        "image;split;patient;note, if any\na.nii;train;p1;x\nb, c.nii;val;p2;\n",
        "image\tsplit\tpatient\tx;y\na.nii\ttrain\tp1\t\nb, c.nii\tval\tp2\t;\n",
        "image\tsplit\tpatient\na.nii\ttrain\tp1\nb, c.nii\tval\tp2\n",
        'Image, Split , PATIENT\n a.nii , Train, p1 \n "b, c.nii",VAL, p2\n',
        'patient,image,split,age\np1,a.nii,train,\np2,"b, c.nii",val,3\n',
        'image,split,patient\ra.nii,train,p1\r"b, c.nii",val,p2\r',
    ],
)
def test_the_usual_kinds_of_tables_are_read_alike(tmp_path, text):
    assert rows(tmp_path, text) == EXPECTED


def test_rows_without_anything_are_passed_over_and_lines_counted(tmp_path):
    text = "\nimage,patient\n\n,\na.nii,1\n\nb.nii,2\n"
    assert rows(tmp_path, text) == [
        ("line 5", "train", "a.nii", "1"),
        ("line 7", "train", "b.nii", "2"),
    ]


def test_a_quoted_line_break_counts_lines_and_stays_in_its_field(tmp_path):
    found = rows(tmp_path, 'image,patient\n"a\nb.nii",1\nc.nii,2\n')
    assert found[0] == ("line 2", "train", "a\nb.nii", "1")
    assert found[1][0] == "line 4"


def test_names_in_any_script_are_kept(tmp_path):
    assert rows(tmp_path, "image\nä ö/患者.nii\n")[0][2] == "ä ö/患者.nii"


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_a_csv_writer_writes_is_read(tmp_path_factory, paths):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["image", "patient"])
    writer.writerows([path, "x"] for path in paths)
    found = rows(tmp_path_factory.mktemp("table"), out.getvalue())
    assert [text for _, _, text, _ in found] == paths


def test_every_bad_row_is_reported_with_its_line_and_the_others_kept(tmp_path):
    entries, problems = read(
        tmp_path,
        "image,split,patient\n"
        "a.nii,train,1\n"
        "b.nii,train\n"
        "c.nii,holdout,3\n"
        ",train,4\n"
        "d.nii,,5\n"
        "e.nii,val,\n"
        "f.nii,test,6,7\n",
    )
    assert [e.text for e in entries] == ["a.nii"]
    for problem, words in zip(
        problems,
        (
            "line 3 has 2 fields, the header 3",
            "line 4 split 'holdout' is not one of train, training, val, validation, test",
            "line 5 has no value for 'image'",
            "line 6 has no value for 'split'",
            "line 7 has no value for 'patient'",
            "line 8 has 4 fields, the header 3",
        ),
        strict=True,
    ):
        assert words in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a.nii\nb.nii\n", "has no column 'image': a.nii"),
        ("path,split\na,train\n", "has no column 'image'"),
        ("image,image\na,b\n", "column 'image' occurs twice"),
        ("image,spilt\na,train\n", "column 'spilt' is not known, did you mean 'split'"),
        ("images,split\na,train\n", "did you mean 'image'"),
        ("image,patient_id\na,1\n", "did you mean 'patient'"),
        ('image\n"a.nii\n', "line 2: not a row of a table"),
        ('image\n"a"b.nii\n', "line 2: not a row of a table"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert words in str(caught.value)
    assert "table.csv" in str(caught.value)


def test_other_columns_may_look_like_known_ones_when_those_are_there(tmp_path):
    assert len(rows(tmp_path, "image,patient,patients\na.nii,1,2\n")) == 1


def test_other_encodings_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="not UTF-8 at byte 6"):
        read(tmp_path, "image\nä.nii\n", "latin-1")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read(tmp_path, "image\na.nii\n", "utf-16")


def test_a_header_alone_is_a_problem(tmp_path):
    assert "has no row below its header" in read(tmp_path, "image,split\n")[1][0]
