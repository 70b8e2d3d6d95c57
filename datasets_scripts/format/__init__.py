"""The data set on disk: its columns and rows, Parquet, annotations, the card and its pictures."""
