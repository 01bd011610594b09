"""Rate-distortion curves: error of the model and of image codecs over bits per voxel."""
