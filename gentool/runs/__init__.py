"""The run folder: what is on disk is whole, and a reader never needs a writer to have ended well."""
