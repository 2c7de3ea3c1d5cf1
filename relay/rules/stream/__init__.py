"""What is known of the streams and their subjects, and what a stream has lost."""
