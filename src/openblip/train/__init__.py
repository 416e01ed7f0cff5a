"""The training side of BLIP; needs the `train` extra."""
