"""Who may ask, how often, with what headers, and which addresses pictures are fetched from."""
