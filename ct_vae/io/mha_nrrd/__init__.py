"""MetaImage and NRRD files."""
