"""What is trained on labels: a classifier on an encoder, and what it learns from."""
