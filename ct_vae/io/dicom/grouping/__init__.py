"""Grouping of DICOM slices into volumes."""
