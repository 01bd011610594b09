"""Decoding of compressed DICOM frames."""
