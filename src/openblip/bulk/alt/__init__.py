"""Alternative texts for the pictures of a web site: found where they are missing, proposed, shown or written."""
