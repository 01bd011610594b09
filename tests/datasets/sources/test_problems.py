import pytest

from ct_vae.datasets.sources.problems import refuse
from ct_vae.errors import ConfigError, InputError, NoInputError


def test_no_problem_is_none():
    refuse([])


def test_one_problem_keeps_its_hint():
    with pytest.raises(ConfigError) as caught:
        refuse([ConfigError("a is missing", "find it")], "list.json")
    assert caught.value.cause == "list.json: a is missing"
    assert caught.value.hint == "find it"


def test_several_problems_are_on_one_line():
    with pytest.raises(ConfigError) as caught:
        refuse(
            [InputError(f"p{i} is bad\nindeed", "mend it") for i in range(30)] + [ConfigError("x")]
        )
    text = str(caught.value)
    assert text.startswith("data: 31 problems: p0 is bad\\nindeed; mend it | p1 is bad")
    assert text.endswith("p19 is bad\\nindeed; mend it | and 11 more")
    assert "\n" not in text


@pytest.mark.parametrize("count", [1, 2])
def test_the_command_for_options_of_readers_is_reported(count):
    problem = InputError("a has no orientation", "--assume-ras takes them as they are")
    with pytest.raises(InputError) as caught:
        refuse([problem] * count)
    assert "--assume-ras takes them as they are; give such options to" in str(caught.value)
    assert str(caught.value).count("such options") == 1


@pytest.mark.parametrize(
    ("problems", "kind"),
    [
        ([InputError("a"), InputError("b")], InputError),
        ([InputError("a"), ConfigError("b")], ConfigError),
        ([NoInputError("a")], ConfigError),
    ],
)
def test_only_what_is_wrong_with_volumes_alone_is_an_input_error(problems, kind):
    with pytest.raises(kind):
        refuse(problems)
