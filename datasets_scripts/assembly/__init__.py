"""What goes into a build and how it is made: the plan, pairs of photographs, duplicates, workers."""
