"""lab.yaml: what a lab is."""
