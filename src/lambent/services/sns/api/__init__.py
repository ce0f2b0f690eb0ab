"""One function for each operation of SNS."""
