"""What every room uses: failures, files, processes, the console."""
