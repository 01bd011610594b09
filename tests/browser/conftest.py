import json
import shutil
from pathlib import Path

import pytest

from tests.browser._page import Page


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium without network, shared by all tests of a process."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("chromium and chromedriver are missing: apt-get install chromium-driver")
    options = Options()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--window-size=1300,1000",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    session = webdriver.Chrome(options=options, service=Service(driver))
    yield session
    session.quit()


@pytest.fixture(scope="session")
def report_file(tmp_path_factory) -> Path:
    """A report of two cases, the worse with every second voxel only."""
    from tests.browser._page import write_example

    return write_example(tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def page(browser, report_file):
    """The report as it opens, judged at the end by what the browser logged."""
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(report_file.as_uri())
    shown = Page(browser)
    shown.wait()
    yield shown
    assert browser.get_log("browser") == []
    entries = (json.loads(entry["message"]) for entry in browser.get_log("performance"))
    sent = [e["message"] for e in entries if e["message"]["method"] == "Network.requestWillBeSent"]
    assert {e["params"]["request"]["url"].split(":")[0] for e in sent} <= {"file", "data"}
