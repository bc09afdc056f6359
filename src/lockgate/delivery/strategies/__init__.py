"""How a rollout goes on, one strategy a file: pure functions from what is known to a decision."""
