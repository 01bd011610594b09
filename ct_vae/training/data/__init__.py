"""Training batches: order, loading and the data of a run."""
