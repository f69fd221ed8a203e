"""One POSIX sh script that reads a host, and the pure parsers of what it prints."""
