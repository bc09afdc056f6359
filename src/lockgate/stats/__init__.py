"""Pure numerics, one method a file, each with its reference and a runnable example. Nothing here reads or writes."""
