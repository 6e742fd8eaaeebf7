"""The parts of a system as processes on this machine: started, configured and ended; for the demo and the kit."""
