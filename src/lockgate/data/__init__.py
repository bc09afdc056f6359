"""What the rows look like: reading tables, data contracts, mergeable profiles and the log of predictions."""
