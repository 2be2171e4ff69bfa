"""Data sets, declared transforms, and one order of examples that can be resumed."""
