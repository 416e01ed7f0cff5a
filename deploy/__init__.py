"""The service in the cloud: its stacks, what it may cost and how much of it is needed. Not part of the wheel."""
