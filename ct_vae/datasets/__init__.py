"""Cases, patches and phantoms for training."""
