"""Lockgate: CI/CD for machine learning in one tool."""

__version__ = "0.1.0"
