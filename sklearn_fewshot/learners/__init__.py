"""The learners: one method per file, in a folder for each family of methods."""
