"""Segmentation tools side by side on this machine: ``python -m benchmarks.peers``.

The pictures, the cores and the run are the same for all. Every tool is a process of its own, in an
environment of its own where its packages are not ours, and only one computes at a time. The table
of tools is `benchmarks.peers.table`; each is one file of ``programs/``.
"""
