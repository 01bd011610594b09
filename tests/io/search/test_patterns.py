from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from ct_vae.io.search.patterns import matches_part

NAMES = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=5)
PATTERNS = st.lists(st.sampled_from(["a", "*", "?", "**", "[ab]b"]), max_size=5)


def banal(parts, pattern):
    """Whether the whole of a path matches, by trying everything."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return banal(parts, pattern[1:]) or bool(parts and banal(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and banal(parts[1:], pattern[1:])


@given(NAMES, PATTERNS)
def test_a_pattern_matches_a_path_or_a_folder_above_it(parts, pattern):
    whole = any(banal(parts[:n], pattern) for n in range(1, len(parts) + 1))
    assert matches_part(parts, pattern) == (whole or not pattern)


def test_paths_may_be_of_any_depth():
    deep = ["d"] * 3000
    assert matches_part([*deep, "a.nii"], ["**", "*.nii"])
    assert not matches_part([*deep, "a.nii"], ["**", "*.mha"])
