"""Many runs: how they are spread over a machine, in which processes, and what is said of them."""
