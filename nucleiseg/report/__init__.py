"""The report: one HTML page about a run, which loads nothing from elsewhere.

`Report` needs the package jinja2: ``pip install 'nucleiseg[report]'``. `nucleiseg.report.flags`
does not, so nothing is imported here.
"""
