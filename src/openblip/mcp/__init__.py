"""An assistant's calls by the Model Context Protocol to the tasks of a model."""
