import base64
import hashlib
import json
import re

from ct_vae.evaluation.report.viewer import framed, source, viewer_data, viewer_section

EVIL = "</script><b>&"


def test_data_are_json_that_closes_no_element():
    text = viewer_data(("original", "error"), [{"name": EVIL, "place": 0}])
    assert "<" not in text
    data = json.loads(text)
    assert data["cases"] == [{"name": EVIL, "place": 0}]
    assert data["views"] == ["original", "error"]
    assert {"width", "level"} <= data["windows"][0].keys()


def test_only_the_style_and_the_script_of_the_page_may_be_used():
    page = framed(EVIL, "", "<main></main>", "{}", "")
    policy = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]+)"', page)[1]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert style == source("style.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert EVIL not in page


def test_the_introduction_is_escaped_and_a_single_case_has_no_list():
    assert EVIL not in viewer_section(("original",), EVIL)
    several, single = (viewer_section(("original",), "x", single=s) for s in (False, True))
    assert single.count("hidden") > several.count("hidden")


def test_empty_images_keep_the_place_of_each_view():
    views = ("original", "latent")
    assert viewer_section(views, "").count("<figure>") == len(views)
