"""Where the files of runs and models are kept: one seam, a local folder, S3, and whatever else fsspec reaches."""
