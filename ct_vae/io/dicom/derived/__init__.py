"""Writing of DICOM series that are derived from a source series."""
