"""What a process is made of beside its mathematics: signals, terminals, names, devices and their precisions."""
