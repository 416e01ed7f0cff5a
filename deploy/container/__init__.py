"""What the image is made with and held to. Knows the Dockerfile, no cloud."""
