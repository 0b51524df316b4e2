"""Whole slides: nuclei of any number of pixels in constant memory."""
