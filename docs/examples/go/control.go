// Cancelling: steps that run can be told to stop.
package main

import (
	"context"
	"encoding/json"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

var cancels sync.Map // correlation id -> context.CancelFunc

// listen returns the orders that come to a queue of our own, which goes with its connection.
func listen(ch *amqp.Channel, key string) <-chan amqp.Delivery {
	own, _ := ch.QueueDeclare("", false, true, true, false, nil)
	ch.QueueBind(own.Name, key, "re.control", false, nil)
	orders, _ := ch.Consume(own.Name, "", true, true, false, false, nil)
	return orders
}

func obey(orders <-chan amqp.Delivery) {
	for d := range orders {
		var order struct{ Attempt string }
		json.Unmarshal(d.Body, &order)
		if stop, isRunning := cancels.Load(order.Attempt); isRunning {
			stop.(context.CancelFunc)()
		}
	}
}
