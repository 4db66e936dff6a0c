// One delivery of a step: its replies, and when it is acknowledged.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

type object map[string]any
type attempt struct {
	final object
	seq   int64
	done  chan struct{}
}

var (
	host, _    = os.Hostname()
	me         = fmt.Sprintf("%s:%d", host, os.Getpid())
	name       string   // of the worker: that of its queue; set before the first step
	known      sync.Map // message id at level 2 -> *attempt: each runs once in this process
	publishing sync.Mutex
)

// publish tells whether the broker has confirmed. One at a time: in version 1.5 of the library a
// DeferredConfirmation waits for ever when the broker is faster than its own bookkeeping.
func publish(exchange, key string, body object, p amqp.Publishing) bool {
	publishing.Lock()
	defer publishing.Unlock()
	p.Body, _ = json.Marshal(body)
	p.DeliveryMode, p.ContentType, p.AppId, p.ReplyTo = amqp.Persistent, "application/json", name, "log"
	way := current.Load()
	if way.channel.PublishWithContext(context.Background(), exchange, key, false, false, p) != nil {
		return false
	}
	return (<-way.confirms).Ack // false also when the channel is closed
}

func handle(ch *amqp.Channel, d amqp.Delivery, subcommands map[string]Subcommand) {
	defer running.Done()
	own := &attempt{done: make(chan struct{})}
	id := d.MessageId
	if d.Headers["x-reworker"] == nil {
		id = fmt.Sprintf("%s.%p", d.CorrelationId, own) // steps of level 1 have no id of their own
	}
	send := func(body object, seq int64) bool {
		return d.ReplyTo == "" || publish("", d.ReplyTo, body, amqp.Publishing{
			CorrelationId: d.CorrelationId,
			MessageId:     fmt.Sprintf("%s.%s.%d", id, me, seq),
			Headers:       amqp.Table{"x-worker": me, "x-seq": seq},
		})
	}
	found, isKnown := known.LoadOrStore(id, own)
	if isKnown { // it comes again, by a new connection or twice
		own = found.(*attempt)
		<-own.done
	} else {
		own.final = perform(d, subcommands, func(body object) { send(body, atomic.AddInt64(&own.seq, 1)) })
		atomic.AddInt64(&own.seq, 1)
		close(own.done)
		time.AfterFunc(time.Hour, func() { known.Delete(id) })
	}
	if send(own.final, own.seq) {
		d.Ack(false) // only now may the broker forget the step
	} else {
		ch.Close() // the step comes again
	}
}
