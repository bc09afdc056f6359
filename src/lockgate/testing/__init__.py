"""Small real things for tests: of Lockgate itself, of its extensions and of projects that use it."""
