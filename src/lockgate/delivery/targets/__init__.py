"""Where traffic is published and replicas are observed, one kind of place a file."""
