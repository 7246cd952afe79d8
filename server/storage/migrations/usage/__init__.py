"""Numbered changes of the tables of usage, each in the spelling of each database."""
