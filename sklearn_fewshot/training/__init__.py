"""From arrays to a trained network; no estimator in sight."""
