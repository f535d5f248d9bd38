"""What users construct: one method a file, in a folder for each family of the literature."""
