"""Comparison of segmentations of organs in originals and reconstructions."""
