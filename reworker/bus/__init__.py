"""The AMQP client side: one contract, a pika member and an in-memory one."""
