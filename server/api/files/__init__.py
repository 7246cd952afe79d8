"""`/v1/files`: uploads, downloads, and the records of files."""
