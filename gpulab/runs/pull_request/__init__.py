"""`inv pr-draft`: a plugin of labs/extend as a change of ms-swift itself."""
