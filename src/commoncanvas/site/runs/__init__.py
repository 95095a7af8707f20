"""The pages about trainings: curves, samples and log while they go on, from their own files."""
