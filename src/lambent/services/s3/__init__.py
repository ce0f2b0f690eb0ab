"""S3: buckets, objects and what happens to them."""
