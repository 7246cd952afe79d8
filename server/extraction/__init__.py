"""The texts of files, found and cut into pieces in processes of their own that can reach nothing else."""
