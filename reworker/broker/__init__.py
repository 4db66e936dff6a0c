"""An embedded AMQP 0-9-1 broker for development and tests; production is RabbitMQ's."""
