"""The version of the package, for its metadata and the User-Agent."""

__version__ = "0.1.0"
