from concurrent.futures import ThreadPoolExecutor

from ct_vae.progress import report_case, report_fraction, report_stage, reporting_to
from tests._progress import Recorder


def test_reports_reach_the_listener_of_the_block_only():
    outer, inner = Recorder(), Recorder()
    report_stage("nobody listens")
    with reporting_to(outer):
        report_case(1, 2, "scan")
        with reporting_to(inner):
            report_stage("encoding", 8)
        report_fraction(0.5)
        report_stage("checking", 3, "cases")
    report_fraction(1.0)
    assert outer.reports == [(1, 2, "scan"), 0.5, ("checking", 3, "cases")]
    assert inner.reports == [("encoding", 8, "voxels")]


def test_threads_that_read_ahead_report_nothing():
    recorder = Recorder()
    with reporting_to(recorder), ThreadPoolExecutor(1) as pool:
        pool.submit(report_stage, "reading").result()
    assert recorder.reports == []
