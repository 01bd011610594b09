"""Volume to tensor and the way back to the source grid."""
