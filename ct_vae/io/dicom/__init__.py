"""DICOM: finding series, reading them in HU, writing derived series."""
