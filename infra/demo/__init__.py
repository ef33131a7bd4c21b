"""A burst of requests against a local stack, shown live, judged by the guarantees, and drawn."""
