"""The HTTP inference runtime: a replica that serves an environment's traffic, and batch scoring of files."""
