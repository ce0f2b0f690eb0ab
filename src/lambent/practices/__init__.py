"""Practices of running functions: clients of the API alone, so they work against AWS itself too."""
