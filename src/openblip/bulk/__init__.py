"""Many pictures at once: where they come from, one file a kind of source, and where what was made of them goes."""
