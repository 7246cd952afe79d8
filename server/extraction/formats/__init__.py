"""Ways to find the text of a file, one module for each; they run in the child process alone."""
