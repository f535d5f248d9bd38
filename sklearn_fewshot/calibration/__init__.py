"""The model of scores, fitted on held-out classes that are used as new ones."""
