"""Exact streaming: slabs of a volume flow through the network operator by operator."""
