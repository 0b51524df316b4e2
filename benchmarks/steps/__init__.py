"""The figures of the documents, step by step: ``python -m benchmarks.steps NAME``."""
