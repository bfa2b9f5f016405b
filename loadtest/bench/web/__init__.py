"""What POST /tasks is compared with, and the load for all of them."""
