"""The documentation site as it opens from a folder, without a network."""

import time

import pytest

from tests.browser._accessibility import problems

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", ["index", "tutorials/train", "reference/configuration"])
def test_an_audit_finds_nothing(browser, site, name):
    browser.get((site / f"{name}.html").as_uri())
    assert problems(browser) == []


def test_the_search_works_in_pages_that_are_opened_as_files(browser, site):
    browser.get((site / "index.html").as_uri())
    browser.execute_script("document.querySelector('label[for=__search]').click()")
    field = browser.find_element("css selector", ".md-search__input")
    for _ in range(100):
        if field.is_displayed():
            break
        time.sleep(0.05)
    field.send_keys("streaming")
    found = []
    for _ in range(200):
        found = browser.find_elements("css selector", ".md-search-result__item a")
        if found:
            break
        time.sleep(0.05)
    assert any("exact_streaming.html" in link.get_attribute("href") for link in found)
