// The worker of the command frob: frob amqp://guest:guest@localhost worker.frob
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// add is a subcommand. An error fails the step; ctx ends when the step is cancelled.
func add(ctx context.Context, raw json.RawMessage, say func(string)) (any, error) {
	var p struct {
		A, B    *float64
		Seconds float64
	}
	if err := json.Unmarshal(raw, &p); err != nil || p.A == nil || p.B == nil {
		return nil, errors.New("a, b and seconds must be numbers")
	}
	say(fmt.Sprintf("adding %g and %g", *p.A, *p.B))
	select {
	case <-time.After(time.Duration(p.Seconds * float64(time.Second))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if *p.A+*p.B > 1000 {
		return nil, fmt.Errorf("%g is over 1000", *p.A+*p.B)
	}
	return map[string]float64{"sum": *p.A + *p.B}, nil
}

func main() {
	work(os.Args[1], os.Args[2], map[string]Subcommand{"add": add})
}
