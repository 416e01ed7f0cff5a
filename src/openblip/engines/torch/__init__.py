"""The torch engine: the model, which is also what is trained, and its adapter to the Engine protocol."""
