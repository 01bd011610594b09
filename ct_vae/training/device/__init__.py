"""Parts of training that follow from its device: random numbers, copies, compiled blocks."""
