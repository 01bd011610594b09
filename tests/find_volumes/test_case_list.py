import pytest

from ct_vae.errors import ConfigError, NoInputError
from ct_vae.find_volumes.case_list import read_case_list, write_case_list


@pytest.mark.parametrize(
    "line", ['{"path": "a"}', '{"path": "a", "key": "../b"}', '{"path": 1, "key": "b"}', "{"]
)
def test_damaged_lists_are_refused(tmp_path, line):
    (tmp_path / "list").write_text(line)
    with pytest.raises(ConfigError, match="list, line 1"):
        read_case_list(tmp_path / "list")


def test_lists_without_cases_are_no_input(tmp_path):
    with pytest.raises(NoInputError, match="cannot be read"):
        read_case_list(tmp_path / "absent")
    write_case_list(tmp_path / "empty", [])
    with pytest.raises(NoInputError, match="empty"):
        read_case_list(tmp_path / "empty")
