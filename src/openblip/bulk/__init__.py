"""Many pictures at once: files, folders and addresses (`sources`), and WebDataset shards (`shards`)."""
