"""The photo library of the service: pictures added, shown and deleted, and found by words or a picture."""
