"""Measurements of speed; each is run as `python -m benchmarks.NAME`. No part of the installed package."""
