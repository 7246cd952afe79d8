"""The bytes of files: in a directory or in a bucket."""
