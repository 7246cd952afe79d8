"""A configuration becomes an application: the packages' concrete classes are named here alone."""
