"""The plugins of this package, and the registry of a client's plugins."""
