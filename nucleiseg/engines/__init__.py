"""Engines: a model compiled for one device, tiles in and maps out."""
