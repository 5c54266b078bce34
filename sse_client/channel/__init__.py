"""The bounded queue between the thread that reads a stream and its consumers."""
