"""The report: one HTML page about a run, which loads nothing from elsewhere.

It needs the package jinja2 (``pip install 'nucleiseg[report]'``).
"""

from nucleiseg.report.collect import Report
from nucleiseg.report.entry import Entry, Failure

__all__ = ["Entry", "Failure", "Report"]
