"""Other people's systems, one file each. Nothing imports them: they are found by name through entry points."""
