"""Errors in Hounsfield units: windows, masks, metrics, pictures."""
