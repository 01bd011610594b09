"""The report: one HTML file with tables, pictures, plots and a viewer, for any browser offline."""

from ct_vae.evaluation.report.case import ReportCase
from ct_vae.evaluation.report.report import HtmlReport

__all__ = ["HtmlReport", "ReportCase"]
