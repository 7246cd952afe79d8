"""How much of the server each caller may use in a period: counted once the policy has allowed the route."""
