"""What a loaded checkpoint says about a batch of pictures, one module a task; `pipeline` puts them together."""
