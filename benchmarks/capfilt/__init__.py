"""The four models of the BLIP paper's Table 1 (no bootstrapping, filter, captioner, both) on a small noisy set, run as
`python -m benchmarks.capfilt`. No part of the installed package."""
