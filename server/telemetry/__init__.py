"""What is counted and traced, for whoever is on call: never who a caller is, nor a word of what was asked."""
