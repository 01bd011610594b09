"""Hounsfield units: rescaling, plausibility and regular grids."""
