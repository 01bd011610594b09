"""Metrics of a reconstruction in Hounsfield units."""
