// A worker of level 1 for the command frob; have it started again when it fails: frob URL worker.frob
package main

import (
	"context"
	"encoding/json"
	"fmt"
	amqp "github.com/rabbitmq/amqp091-go"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// add does the work, and returns the final reply; say sends a line of output.
func add(p map[string]any, say func(string)) map[string]any {
	a, isA := p["a"].(float64)
	b, isB := p["b"].(float64)
	if p["subcommand"] != "add" || !isA || !isB {
		return map[string]any{"status": "failed", "message": "expected the subcommand add, and numbers a and b"}
	}
	say(fmt.Sprintf("adding %g and %g", a, b))
	seconds, _ := p["seconds"].(float64)
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	if a+b > 1000 || a+b < -1000 {
		return map[string]any{"status": "failed", "message": fmt.Sprintf("%g is over 1000", a+b)}
	}
	return map[string]any{"status": "completed", "data": map[string]any{"sum": a + b}}
}

func main() {
	queue := os.Args[2]
	connection, err := amqp.Dial(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	ch, _ := connection.Channel()
	refused := ch.NotifyClose(make(chan *amqp.Error, 1)) // what is refused closes the channel
	ch.ExchangeDeclare("re", "topic", true, false, false, false, nil)
	ch.ExchangeDeclare("re.dead", "fanout", true, false, false, false, nil)
	ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-dead-letter-exchange": "re.dead"})
	ch.QueueBind(queue, queue, "re", false, nil)
	ch.Qos(1, 0, false)
	ch.Confirm(false)
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 1))
	steps, err := ch.Consume(queue, queue, false, false, false, false, nil)
	if err != nil {
		log.Fatal(<-refused)
	}
	stopping, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	go func() {
		<-stopping.Done()
		ch.Cancel(queue, false) // closes steps
	}()
	log.Printf("consuming %s", queue)
	for d := range steps {
		send := func(exchange, key string, body map[string]any) {
			p := amqp.Publishing{AppId: queue, CorrelationId: d.CorrelationId, ReplyTo: "log", DeliveryMode: 2}
			p.Body, _ = json.Marshal(body)
			ch.PublishWithContext(context.Background(), exchange, key, false, false, p)
			if !(<-confirms).Ack {
				log.Fatal("the broker has not confirmed what was sent")
			}
		}
		final := map[string]any{"status": "failed", "message": "its worker was lost"}
		if !d.Redelivered {
			var step struct{ Parameters map[string]any }
			json.Unmarshal(d.Body, &step) // what is no step has no parameters
			send("", d.ReplyTo, map[string]any{"status": "started"})
			final = add(step.Parameters, func(line string) { send("re", "output", map[string]any{"message": line}) })
		}
		send("", d.ReplyTo, final)
		d.Ack(false)
	}
	if err := connection.Close(); err != nil || stopping.Err() == nil {
		log.Fatal("the connection or the queue is gone")
	}
}
