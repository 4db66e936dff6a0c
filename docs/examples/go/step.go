// One step: whether it may run, and how it ends.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Subcommand does the work; say sends a line of output.
type Subcommand func(ctx context.Context, parameters json.RawMessage, say func(string)) (any, error)

// seconds returns what a header holds, 0 without it: seconds travel as text.
func seconds(d amqp.Delivery, header string) float64 {
	found, _ := strconv.ParseFloat(fmt.Sprint(d.Headers[header]), 64)
	return found
}

func perform(d amqp.Delivery, subcommands map[string]Subcommand, reply func(object)) object {
	until := seconds(d, "x-not-after")
	isLate := until > 0 && until < float64(time.Now().Unix())
	isLevel2 := d.Headers["x-reworker"] != nil
	switch isSafe := d.Headers["x-idempotent"] == true && !isLate; {
	case d.Redelivered && !isSafe && isLevel2:
		return object{"status": "unknown", "message": "the worker that had it was lost"}
	case d.Redelivered && !isSafe:
		return object{"status": "failed", "message": "the worker that had it was lost"}
	case isLate:
		return object{"status": "cancelled", "message": "it came too late to begin"}
	}
	var step struct{ Parameters json.RawMessage }
	var name struct{ Subcommand string }
	if json.Unmarshal(d.Body, &step) != nil || json.Unmarshal(step.Parameters, &name) != nil {
		return object{"status": "failed", "message": "the message is no step"}
	}
	run := subcommands[name.Subcommand]
	if run == nil {
		return object{"status": "failed", "message": "unknown subcommand " + name.Subcommand}
	}
	ctx, stop := context.WithCancel(context.Background())
	cancels.Store(d.CorrelationId, stop)
	defer cancels.Delete(d.CorrelationId)
	reply(object{"status": "started"})
	var beats sync.WaitGroup
	if pause := seconds(d, "x-heartbeat-s"); pause > 0 {
		beats.Add(1)
		go beat(ctx, time.Duration(pause*float64(time.Second)), reply, beats.Done)
	}
	say := func(line string) {
		publish("re", "output", object{"message": line}, amqp.Publishing{CorrelationId: d.CorrelationId})
	}
	data, err := run(ctx, step.Parameters, say)
	isCancelled := ctx.Err() != nil
	stop()
	beats.Wait() // nothing may come after the final reply
	if isCancelled {
		return object{"status": "cancelled"}
	} else if err != nil {
		return object{"status": "failed", "message": err.Error()}
	}
	return object{"status": "completed", "data": data}
}

func beat(ctx context.Context, pause time.Duration, reply func(object), done func()) {
	defer done()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			reply(object{"status": "running"})
		}
	}
}
