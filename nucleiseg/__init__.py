"""Cell nuclei segmentation in microscope images."""
