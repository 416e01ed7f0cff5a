"""The HTTP service; importing it loads nothing."""
