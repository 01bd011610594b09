"""Many cases: jobs, reading ahead, leases, shards, failures and the check of outputs."""
