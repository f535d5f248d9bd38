"""Model files: ``save_model`` and ``load_model``."""
