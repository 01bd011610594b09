import hashlib
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.datasets.sources.patient_split import LIST_NAMES, Shares, linked_patients, place_cases
from ct_vae.errors import ConfigError

NAMES = st.text("abcdef", min_size=1, max_size=2)
CASES = st.lists(st.tuples(NAMES, st.integers(0, 30).map(str)), max_size=25)
SHARES = st.builds(Shares, st.floats(0, 0.5), st.floats(0, 0.49), st.integers(0, 9))


def lists(cases, shares):
    """The list of each patient; place_cases must agree with itself."""
    found = defaultdict(set)
    for (patient, _), place in zip(cases, place_cases(cases, shares), strict=True):
        found[patient].add(place.list_name)
    assert all(len(names) == 1 for names in found.values())
    return {patient: next(iter(names)) for patient, names in found.items()}


def banal_groups(cases):
    """Merge whatever has a patient or a content in common, until nothing changes."""
    groups = [({p}, {c}) for p, c in cases]
    for _ in groups:
        for a in groups:
            for b in groups:
                if a is not b and (a[0] & b[0] or a[1] & b[1]):
                    a[0].update(b[0])
                    a[1].update(b[1])
    return {frozenset(patients) for patients, _ in groups if len(patients) > 1}


@given(st.sets(st.text("abcdef", min_size=1, max_size=4)), st.floats(0, 0.99), st.integers(0, 9))
def test_a_share_takes_at_least_one_patient_and_never_all(patients, share, seed):
    shares = Shares(val=share, test=0.0, seed=seed)
    chosen = shares.validating(patients)
    natural = {each for each in patients if shares.list_of(each) == "validation"}
    if len(patients) < 2:
        assert chosen == set()
    else:
        assert chosen < patients
        assert chosen
        # Only where the share itself gives nobody or everybody does it give somebody else.
        assert chosen == natural or natural in (set(), patients)
        assert len(chosen ^ natural) <= 1


@given(CASES)
def test_linked_patients_are_those_of_a_banal_search(cases):
    found = linked_patients(cases)
    assert {frozenset(group) for group in found} == banal_groups(cases)
    assert len(found) == len(banal_groups(cases))


@given(CASES, SHARES)
def test_a_patient_and_a_content_are_in_one_list(cases, shares):
    lists(cases, shares)
    of_content = defaultdict(set)
    for (_, content), place in zip(cases, place_cases(cases, shares), strict=True):
        of_content[content].add(place.list_name)
    assert all(len(names) == 1 for names in of_content.values())


@given(CASES, st.data(), SHARES)
def test_the_order_of_cases_does_not_matter(cases, data, shares):
    assert lists(cases, shares) == lists(data.draw(st.permutations(cases)), shares)


@given(NAMES, NAMES, SHARES)
def test_two_who_share_a_volume_get_the_list_of_the_first_digest(a, b, shares):
    found = place_cases([(a, "volume"), (b, "volume")], shares)
    assert {place.list_name for place in found} == {shares.list_of(min(a, b))}


@given(CASES, CASES, SHARES)
def test_who_shares_no_volume_with_others_never_moves(cases, more, shares):
    before, after = lists(cases, shares), lists([*more, *cases], shares)
    linked = set().union(*banal_groups([*more, *cases]), set())
    assert all(before[p] == after[p] for p in before if p not in linked)


@given(CASES, SHARES)
def test_each_volume_is_first_once_and_doubles_name_the_first(cases, shares):
    places = place_cases(cases, shares)
    firsts = [content for (_, content), p in zip(cases, places, strict=True) if p.same_as is None]
    assert sorted(firsts) == sorted({content for _, content in cases})
    for index, place in enumerate(places):
        if place.same_as is not None:
            assert place.same_as < index
            assert cases[place.same_as][1] == cases[index][1]
            assert places[place.same_as].same_as is None


@given(CASES)
def test_patients_are_numbered_as_they_come(cases):
    numbers = [place.patient for place in place_cases(cases, Shares())]
    assert len(set(zip(numbers, (p for p, _ in cases), strict=True))) == len(set(numbers))
    assert list(dict.fromkeys(numbers)) == list(range(1, len(set(numbers)) + 1))


@given(NAMES, st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0, 0.1), st.integers(0, 5))
def test_a_larger_share_takes_from_training_only(patient, val, test, more, seed):
    before = Shares(val, test, seed).list_of(patient)
    for larger, gains in (
        (Shares(val + more, test, seed), "validation"),
        (Shares(val, test + more, seed), "test"),
    ):
        after = larger.list_of(patient)
        assert after == before or (before, after) == ("training", gains)


def test_shares_are_kept_to_in_the_long_run():
    shares = Shares(0.2, 0.1, 7)
    found = Counter(shares.list_of(f"patient{i}") for i in range(5000))
    assert set(found) == set(LIST_NAMES)
    # Five standard deviations of a binomial count.
    assert abs(found["validation"] - 1000) < 5 * (5000 * 0.2 * 0.8) ** 0.5
    assert abs(found["test"] - 500) < 5 * (5000 * 0.1 * 0.9) ** 0.5


def test_lists_without_a_share_stay_empty():
    found = {Shares(0, 0).list_of(f"patient{i}") for i in range(2000)}
    assert found == {"training"}


def test_another_seed_gives_another_split():
    names = [f"patient{i}" for i in range(200)]
    splits = {tuple(map(Shares(0.3, 0.3, seed).list_of, names)) for seed in range(5)}
    assert len(splits) == 5


def test_the_split_is_the_same_for_good():
    """Lists that people have published must not change with the package."""
    shares = Shares(0.3, 0.2, 1)
    found = {name: shares.list_of(name) for name in (f"patient{i}" for i in range(100))}
    for name, list_name in found.items():
        place = int(hashlib.sha256(f"1:{name}".encode()).hexdigest()[:12], 16) / 16**12
        assert list_name == (
            "validation" if place < 0.3 else "test" if place >= 0.8 else "training"
        )
    assert "".join(list_name[1] for list_name in list(found.values())[:12]) == "rrrearrrarra"


@pytest.mark.parametrize(
    ("val", "test"), [(-0.1, 0), (0, -0.1), (0.5, 0.5), (1, 0), (0, 1), (float("nan"), 0)]
)
def test_shares_that_leave_nothing_are_refused(val, test):
    with pytest.raises(ConfigError, match="are invalid"):
        Shares(val, test)
