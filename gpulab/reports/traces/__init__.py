"""What a traced run shows: the main line as a flow chart, the code behind each flag, where two runs part."""
