"""Which labels are wrong, how many, and how sure: for anybody's data and training loop."""
