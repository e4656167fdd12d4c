"""Full-ranking evaluation: protocols, tuned baselines, paired intervals."""
