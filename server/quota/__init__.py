"""Quotas of requests and tokens for each caller and period, counted once the policy has allowed the route."""
