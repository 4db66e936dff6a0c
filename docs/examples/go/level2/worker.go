package main

import (
	"context"
	"fmt"
	"log"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// step is one that was delivered; seq counts its replies.
type step struct {
	amqp.Delivery
	send func(exchange, key string, p amqp.Publishing) bool
	seq  int
}

// serve answers steps until stopping ends or the connection is lost; a step that runs is ended first.
func serve(stopping context.Context, url, queue string, ended map[string]amqp.Publishing) error {
	connection, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer connection.Close() // acknowledgements go first
	ch, err := connection.Channel()
	if err != nil {
		return err
	}
	refused := ch.NotifyClose(make(chan *amqp.Error, 1)) // what is refused closes the channel
	ch.ExchangeDeclare("re", "topic", true, false, false, false, nil)
	ch.ExchangeDeclare("re.control", "topic", true, false, false, false, nil)
	ch.ExchangeDeclare("re.dead", "fanout", true, false, false, false, nil)
	ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-dead-letter-exchange": "re.dead"})
	ch.QueueBind(queue, queue, "re", false, nil)
	own, _ := ch.QueueDeclare("", false, true, true, false, nil)
	ch.QueueBind(own.Name, strings.Replace(queue, "worker", "cancel", 1), "re.control", false, nil)
	orders, _ := ch.Consume(own.Name, "", true, true, false, false, nil)
	ch.Qos(1, 0, false)
	ch.Confirm(false)
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 1))
	steps, err := ch.Consume(queue, queue, false, false, false, false, nil)
	if err != nil {
		return <-refused
	}
	go func() {
		<-stopping.Done()
		ch.Cancel(queue, false) // closes steps
	}()
	log.Printf("consuming %s", queue)
	for d := range steps {
		s := &step{Delivery: d, send: func(exchange, key string, p amqp.Publishing) bool {
			p.AppId, p.CorrelationId, p.ReplyTo, p.DeliveryMode = queue, d.CorrelationId, "log", amqp.Persistent
			ch.PublishWithContext(context.Background(), exchange, key, false, false, p)
			return (<-confirms).Ack // false also when the channel is closed
		}}
		final, isKnown := ended[d.MessageId]
		if !isKnown || d.MessageId == "" {
			final = s.reply(s.perform(orders))
			remember(ended, d.MessageId, final)
		}
		if !s.send("", d.ReplyTo, final) {
			break // the step comes again
		}
		d.Ack(false)
	}
	return fmt.Errorf("consuming %s no more", queue)
}

// remember keeps a final reply, and forgets another when there are many.
func remember(ended map[string]amqp.Publishing, id string, final amqp.Publishing) {
	for other := range ended {
		if len(ended) < 1000 {
			break
		}
		delete(ended, other)
	}
	ended[id] = final
}
