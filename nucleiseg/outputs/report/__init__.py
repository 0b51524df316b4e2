"""The report: one HTML page about a run that asks the network for nothing."""

from nucleiseg.outputs.report.collect import Entry, Failure, Report

__all__ = ["Entry", "Failure", "Report"]
