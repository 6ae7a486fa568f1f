"""`inv doctor`: the problems that users of ms-swift and of GPU hosts keep meeting, each a check with evidence and cure."""
