import json
from dataclasses import fields

from ct_vae.evaluation.probe.result import LinePairs, ProbeLinearity, ProbeResult


def test_all_measurements_are_json_by_their_names():
    line = ProbeLinearity((0.0, 1.0), (0.5, 1.5), 1.0, 0.5, 0.5)
    result = ProbeResult(1.0, 15.0, (), line, (LinePairs(1.0, None),), (), ())
    found = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert found.keys() == {field.name for field in fields(ProbeResult)}
    assert found["linearity"]["intercept_hu"] == 0.5
    assert found["line_pairs"] == [{"per_cm": 1.0, "transfer": None}]
