"""Are the numbers right? Work made ready, judged against the reference, and what is wrong with it named."""
