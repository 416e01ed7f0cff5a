"""Data to learn from or to measure on, in whatever form they come -> plain records (`examples.Picture`); a file a form.
`read.read_pictures` is the one door."""
