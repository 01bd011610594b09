"""Which images of DICOM files belong together as one volume."""
