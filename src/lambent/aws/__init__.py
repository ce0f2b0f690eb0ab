"""What AWS defines: names, errors, quotas. Pure: nothing here does I/O."""
