"""`/v1/batches`: requests in a file that are answered later, each as a request of the batch's owner."""
