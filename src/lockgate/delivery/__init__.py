"""How a version reaches an environment and leaves it: rollouts as a state machine, strategies, targets, traces."""
