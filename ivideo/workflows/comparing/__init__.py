"""Parts of `compare`: who takes part, their videos and scores, what people say, and what is written."""
