"""The queue: submission, jobs, leases, and the order of claims."""
