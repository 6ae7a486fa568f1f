"""`inv doctor`: problems that users of ms-swift and of GPU hosts keep meeting, as checks with evidence and cure."""
