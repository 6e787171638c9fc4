"""What training shows of each sample, and what follows from it: stages, stops, suspects."""
