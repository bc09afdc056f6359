"""Stages as a graph: which would run and why, running them, and remembering what each read and wrote."""
