"""CI systems: each file writes one system's pipeline from the same facts and the same commands."""
