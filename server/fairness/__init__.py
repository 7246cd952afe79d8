"""Fair shares: what one caller uses of a resource delays no other caller for long."""
