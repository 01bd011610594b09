from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.batch.shard import Shard, choose_shard
from ct_vae.errors import ConfigError
from ct_vae.find_volumes.cases import Case


def cases(keys):
    return [Case(Path(f"/in/{key}.nii"), key) for key in keys]


def array(task, low, high, count):
    names = ("ID", "MIN", "MAX", "COUNT")
    values = (task, low, high, count)
    return {f"SLURM_ARRAY_TASK_{n}": str(v) for n, v in zip(names, values, strict=True)}


@given(st.sets(st.text("abc/", min_size=1, max_size=5)), st.integers(1, 9), st.randoms())
def test_every_case_is_in_exactly_one_shard_however_they_were_listed(keys, count, random):
    listed = cases(keys)
    parts = [Shard(i, count).of(listed) for i in range(count)]
    assert sorted(c.key for part in parts for c in part) == sorted(keys)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    random.shuffle(listed)
    assert [Shard(i, count).of(listed) for i in range(count)] == parts


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        (None, {}, "0/1"),
        ("2/3", {"RANK": "0", "WORLD_SIZE": "2"}, "2/3"),
        (None, {"RANK": "1", "WORLD_SIZE": "2"}, "1/2"),
        (None, array(7, 4, 7, 4), "3/4"),
        (None, array(10, 0, 20, 3), "1/3"),
        (None, array(5, 5, 5, 1), "0/1"),
        (None, array(1, 0, 1, 2) | {"RANK": "2", "WORLD_SIZE": "4"}, "6/8"),
    ],
)
def test_a_shard_is_named_or_follows_from_the_environment(text, environment, expected):
    assert str(choose_shard(text, environment)) == expected


@pytest.mark.parametrize("text", ["3/3", "1", "-1/2", "0/0", "a/b", "1/2/3"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError, match=r"from 0 to n - 1"):
        choose_shard(text, {})


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "0"},
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "x", "WORLD_SIZE": "2"},
        {"SLURM_ARRAY_TASK_ID": "3"},
        array(2, 1, 7, 3),
        array(7, 0, 20, 3),
    ],
)
def test_an_environment_that_names_no_shard_is_refused(environment):
    """Every task of an uneven array is, so that no case is left out in silence."""
    if environment.get("SLURM_ARRAY_TASK_MAX") == "7":
        # Tasks 1, 2 and 7: a step of three would fit their ends.
        assert [_refused(array(task, 1, 7, 3)) for task in (1, 2, 7)] == [False, True, False]
    with pytest.raises(ConfigError, match="--shard"):
        choose_shard(None, environment)


def _refused(environment):
    try:
        choose_shard(None, environment)
    except ConfigError:
        return True
    return False


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"JOB_COMPLETION_INDEX": "0"}, "0/8"),
        ({"JOB_COMPLETION_INDEX": "7"}, "7/8"),
        ({"PBS_ARRAY_INDEX": "3"}, "3/8"),
        ({"PBS_ARRAYID": "3"}, "3/8"),
        ({"LSB_JOBINDEX": "1"}, "0/8"),
        ({"LSB_JOBINDEX": "0", "SGE_TASK_ID": "8"}, "7/8"),
        ({"SGE_TASK_ID": "undefined", **array(5, 0, 7, 8)}, "5/8"),
    ],
)
def test_the_index_of_an_array_job_is_that_of_its_system(environment, expected):
    assert str(choose_shard("env/8", environment)) == expected


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("env/8", {}),
        ("env/8", {"LSB_JOBINDEX": "0"}),
        ("env/8", {"SGE_TASK_ID": "undefined"}),
        ("env/x", {"JOB_COMPLETION_INDEX": "1"}),
        ("env/8", {"JOB_COMPLETION_INDEX": "8"}),
    ],
)
def test_an_index_that_is_missing_or_too_large_is_refused(text, environment):
    with pytest.raises(ConfigError):
        choose_shard(text, environment)
