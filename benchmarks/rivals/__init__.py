"""What the package's speed is measured against. Fixed: reviewed once, not tuned against."""
