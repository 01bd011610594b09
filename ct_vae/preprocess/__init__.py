"""Conversion of volumes to tensors and back to the source grid."""
