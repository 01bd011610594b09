"""HTML report: a single file with tables, images, plots and a viewer, for offline use."""

from ct_vae.evaluation.report.case import ReportCase
from ct_vae.evaluation.report.report import HtmlReport

__all__ = ["HtmlReport", "ReportCase"]
