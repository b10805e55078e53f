"""What `graph-agent eval` judges this project by: datasets, baselines, a scripted model, and broken graphs."""
