"""The public test kit: synthetic files, hypothesis strategies, counting sources."""
