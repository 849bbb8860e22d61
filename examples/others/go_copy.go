// An echo server with Go's io.Copy: a goroutine for each client.
// Build: go build -o /tmp/go_copy examples/others/go_copy.go
// Run: mio-echo check -- /tmp/go_copy {address}
// Stands on: rung 10 of the ladder. Next: `out-of-descriptors`, because an accept error ends it. It fails `urgent` too.
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			io.Copy(client, client)
			client.Close()
		}()
	}
}
