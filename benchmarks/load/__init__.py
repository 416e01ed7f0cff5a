"""The service under load, beside what others would run in its place: `make load`. See docs/load.md."""
