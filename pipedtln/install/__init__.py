"""Setup and teardown: a list of steps, each of which can be told, done and undone."""
