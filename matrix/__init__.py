"""What is tested and what is known: data, evidence, rules, verdicts. No Docker, no GitHub, no GPU."""
