"""Tests of the deployment; none asks for an account or a network."""
