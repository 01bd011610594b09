import re

from ct_vae.evaluation.report.listing import facts_tables, number, summary_table


def spread(median):
    return {"median": median, "q25": median - 1, "q75": median + 1, "n": 3}


def group(what, window="full", mask="body", **metrics):
    where = {"what": what, "window": window, "mask": mask, "data_range": 4024.0, "cases": 3}
    return where | {"notes": []} | metrics


def cells(html):
    return [
        re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>.*?</tr>", html)
    ]


def test_baselines_stand_below_the_reconstruction_with_the_data_range():
    none = {"median": None, "q25": None, "q75": None, "n": 0}
    groups = [
        group("reconstruction", psnr=spread(31.0)),
        group("reconstruction", "lung", psnr=none),
        group("resample", psnr=spread(-2.5), ssim=spread(0.5)),
    ]
    head, *rows = cells(summary_table({"patients": 3, "groups": groups}))
    assert head == ["Window", "Mask", "What", "Data range, HU", "PSNR, dB", "ssim", "Cases"]
    assert [row[:4] for row in rows] == [
        ["full", "body", "reconstruction", "4024"],
        ["full", "body", "resample", "4024"],
        ["lung", "body", "reconstruction", "4024"],
    ]
    minus = "\N{MINUS SIGN}"
    assert rows[0][4] == "31.00 <small>30.00 to 32.00</small>"
    assert rows[1][4] == f"{minus}2.50 <small>{minus}3.50 to {minus}1.50</small>"
    assert rows[1][5] == f"0.5000 <small>{minus}0.5000 to 1.5000</small>"
    assert rows[2][4] == rows[0][5] == "\N{EN DASH}"


def test_one_patient_has_values_without_quartiles():
    alone = {"median": 31.0, "q25": None, "q75": None, "n": 1}
    html = summary_table({"patients": 1, "groups": [group("reconstruction", psnr=alone)]})
    assert cells(html)[1][4] == "31.00"
    assert "quartile" not in html.lower()
    assert "One patient." in html


def test_nested_facts_become_tables():
    facts = {
        "slope": 1.5,
        "model": {"name": "<i>", "sizes": [1, 2]},
        "steps": [{"hu": 100, "f50": None}, {"hu": -300.25}],
    }
    html = facts_tables("Probe", facts)
    rows = cells(html)
    assert ["slope", "1.5"] in rows
    assert ["model, name", "&lt;i&gt;"] in rows
    assert ["model, sizes", "1, 2"] in rows
    assert rows[-3:] == [
        ["hu", "f50"],
        ["100", "\N{EN DASH}"],
        ["\N{MINUS SIGN}300.25", "\N{EN DASH}"],
    ]


def test_numbers_have_a_true_minus_and_a_dash_for_nothing():
    assert number(-1.234, 1) == "\N{MINUS SIGN}1.2"
    assert number(-0.001, 2) == "0.00"
    assert number(None, 1) == "\N{EN DASH}"
