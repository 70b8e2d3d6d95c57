"""Making training data: labels from vessel maps, rendered photographs, Parquet, pictures to check them by."""
