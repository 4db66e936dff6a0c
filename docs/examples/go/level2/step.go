package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

type object map[string]any

const never = 9e9 // seconds

// reply returns the next reply, with an id of its own.
func (s *step) reply(body object) (p amqp.Publishing) {
	s.seq++
	p.MessageId = fmt.Sprintf("%s.%d", me, time.Now().UnixNano())
	p.Headers = amqp.Table{"x-worker": me, "x-seq": s.seq}
	p.Body, _ = json.Marshal(body)
	return p
}

// seconds returns what a header holds; they travel as text. What cannot be is as if it were not there.
func (s *step) seconds(header string, otherwise float64) float64 {
	found, err := strconv.ParseFloat(fmt.Sprint(s.Headers[header]), 64)
	if err != nil || !(found > 0.01 && found < 9e9) {
		return otherwise
	}
	return found
}

// perform decides whether a step may run, runs it, and returns how it ends.
func (s *step) perform(orders <-chan amqp.Delivery) object {
	isLate := s.seconds("x-not-after", never) < float64(time.Now().Unix())
	switch isSafe := s.Headers["x-idempotent"] == true && !isLate; {
	case s.Redelivered && !isSafe && s.Headers["x-reworker"] != nil:
		return object{"status": "unknown", "message": "its worker was lost"}
	case s.Redelivered && !isSafe:
		return object{"status": "failed", "message": "its worker was lost"}
	case isLate:
		return object{"status": "cancelled", "message": "it came too late to begin"}
	}
	s.send("", s.ReplyTo, s.reply(object{"status": "started"}))
	return s.run(orders)
}

func (s *step) run(orders <-chan amqp.Delivery) object {
	var body struct{ Parameters object }
	json.Unmarshal(s.Body, &body) // what is no step has no parameters
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lines, final := make(chan string), make(chan object)
	go func() { final <- add(ctx, body.Parameters, lines) }()
	beat := time.NewTicker(time.Duration(s.seconds("x-heartbeat-s", never) * float64(time.Second)))
	defer beat.Stop()
	for {
		select {
		case body := <-final:
			return body
		case line := <-lines:
			text, _ := json.Marshal(object{"message": line})
			s.send("re", "output", amqp.Publishing{Body: text})
		case <-beat.C:
			s.send("", s.ReplyTo, s.reply(object{"status": "running"}))
		case order, isOpen := <-orders:
			if !isOpen {
				orders = nil // the connection is lost
			}
			var named struct{ Attempt string }
			if json.Unmarshal(order.Body, &named) == nil && named.Attempt == s.CorrelationId {
				cancel()
			}
		}
	}
}
