"""What sites and the coordinator share: pure values and functions. No files, no sockets, no clock, no log."""
