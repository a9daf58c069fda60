"""Is it fast? Races of kernels in one process, their timers, and the rule by which one is slower."""
