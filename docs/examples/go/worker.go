// What every worker has in common, levels 1 and 2: connect, declare, take steps one by one, stop when told to.
package main

import (
	"log"
	"math/rand"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

type link struct {
	channel  *amqp.Channel
	confirms chan amqp.Confirmation
}

var (
	current    atomic.Pointer[link] // of the present connection: steps outlive connections
	isStopping atomic.Bool
	running    sync.WaitGroup
)

func work(url, queue string, subcommands map[string]Subcommand) {
	name = strings.TrimPrefix(queue, "worker.")
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		isStopping.Store(true)
		if way := current.Load(); way != nil {
			way.channel.Cancel(queue, false) // ends the range over steps
		}
	}()
	for !isStopping.Load() {
		log.Print(serve(url, queue, subcommands))
		time.Sleep(time.Duration(200+rand.Intn(800)) * time.Millisecond)
	}
}

func serve(url, queue string, subcommands map[string]Subcommand) error {
	connection, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer connection.Close()
	ch, err := connection.Channel()
	if err != nil {
		return err
	}
	ch.ExchangeDeclare("re", "topic", true, false, false, false, nil)
	ch.ExchangeDeclare("re.control", "topic", true, false, false, false, nil)
	ch.ExchangeDeclare("re.dead", "fanout", true, false, false, false, nil)
	ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-dead-letter-exchange": "re.dead"})
	ch.QueueBind(queue, queue, "re", false, nil)
	go obey(listen(ch, strings.Replace(queue, "worker", "cancel", 1)))
	ch.Qos(1, 0, false)
	ch.Confirm(false)
	current.Store(&link{ch, ch.NotifyPublish(make(chan amqp.Confirmation, 1))})
	steps, err := ch.Consume(queue, queue, false, false, false, false, nil)
	if err != nil { // whatever was refused before has closed the channel
		return err
	}
	log.Printf("consuming %s", queue)
	for d := range steps {
		running.Add(1)
		go handle(ch, d, subcommands)
	}
	if isStopping.Load() {
		running.Wait()
	}
	return ch.Close() // acknowledgements go first
}
