// A worker of level 2 for the command frob: frob amqp://guest:guest@localhost worker.frob
// This file has what is its own. worker.go and step.go are the same for every command.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var (
	host, _ = os.Hostname()
	me      = fmt.Sprintf("%s:%d", host, os.Getpid()) // in the replies
)

// add does the work, and returns the final reply. Lines are sent as output; ctx ends when it is cancelled.
func add(ctx context.Context, p object, lines chan<- string) object {
	a, isA := p["a"].(float64)
	b, isB := p["b"].(float64)
	if p["subcommand"] != "add" || !isA || !isB {
		return object{"status": "failed", "message": "expected the subcommand add, and numbers a and b"}
	}
	lines <- fmt.Sprintf("adding %g and %g", a, b)
	seconds, _ := p["seconds"].(float64)
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
	case <-ctx.Done():
		return object{"status": "cancelled"}
	}
	if a+b > 1000 || a+b < -1000 {
		return object{"status": "failed", "message": fmt.Sprintf("%g is over 1000", a+b)}
	}
	return object{"status": "completed", "data": object{"sum": a + b}}
}

func main() {
	ended := map[string]amqp.Publishing{} // final replies by message id: each attempt runs once in this process
	stopping, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	for stopping.Err() == nil {
		log.Print(serve(stopping, os.Args[1], os.Args[2], ended))
		time.Sleep(time.Duration(200+os.Getpid()%800) * time.Millisecond) // not all workers at once
	}
}
