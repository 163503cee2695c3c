"""What the answers are worth: metrics, the independent checker of faithfulness, the report."""
