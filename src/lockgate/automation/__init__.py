"""What happens by itself: the lifecycle of one run, and the durable workflows and triggers that start it again."""
