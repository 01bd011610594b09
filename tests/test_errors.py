import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import CtVaeError, InputError, printable


def test_what_can_be_shown_stays_as_it_is():
    text = "ü 字 [x] '\"\\ \u00a0\u3000"
    assert printable(text) is not None
    assert printable(text) == text


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\n", "\\n"),
        ("\x1b", "\\x1b"),
        ("\x9b", "\\x9b"),
        ("\u202e", "\\u202e"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(character, shown):
    assert printable(f"a{character}b") == f"a{shown}b"


@given(st.text(st.characters()))
def test_escaped_text_is_one_line_and_stays_as_it_is(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown


def test_an_error_shows_names_of_files_escaped():
    error = InputError("a\nb\x1b[2J.nii: is empty", "look\nthere")
    assert str(error) == "a\\nb\\x1b[2J.nii: is empty; look\\nthere"
    assert str(CtVaeError(" plain\n")) == "plain"
