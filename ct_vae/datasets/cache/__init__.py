"""The cache of preprocessed volumes."""
