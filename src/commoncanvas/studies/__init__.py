"""Studies: questions that need several trainings."""
