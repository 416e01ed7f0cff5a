"""The HTTP service: every task over one door, concurrent work batched, repeated work answered from a cache."""
