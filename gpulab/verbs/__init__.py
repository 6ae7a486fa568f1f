"""What makes a function a verb, and the verbs."""
