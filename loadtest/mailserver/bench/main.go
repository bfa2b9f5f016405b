// Command bench sends mails over pooled STARTTLS connections and prints how many the server took a second, and how
// many it would take on a core of its own (by the CPU time of the process named by -pid).
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Linux counts a process' CPU time in hundredths of a second (USER_HZ) on every architecture.
const ticksPerSecond = 100

func main() {
	address := flag.String("smtp", "127.0.0.1:2525", "the server")
	mails := flag.Int("mails", 20_000, "mails to send")
	connections := flag.Int("connections", 8, "connections that share them")
	size := flag.Int("bytes", 4096, "size of a mail's text")
	pid := flag.Int("pid", 0, "process of the server, to measure its CPU")
	flag.Parse()
	before, started := cpuSeconds(*pid), time.Now()
	var senders sync.WaitGroup
	for sender := range *connections {
		senders.Go(func() {
			if err := send(*address, sender, *mails / *connections, *size); err != nil {
				log.Fatal(err)
			}
		})
	}
	senders.Wait()
	seconds, sent := time.Since(started).Seconds(), float64(*mails / *connections * *connections)
	result := map[string]float64{"mails": sent, "seconds": seconds, "mails_per_s": sent / seconds}
	if used := cpuSeconds(*pid) - before; used > 0 {
		result["server_cpu_s"], result["mails_per_s_per_core"] = used, sent/used
	}
	_ = json.NewEncoder(os.Stdout).Encode(result)
}

func send(address string, sender, mails, size int) error {
	client, err := smtp.DialStartTLS(address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer func() { _ = client.Quit() }()
	text := strings.Repeat(strings.Repeat("All work and no play. ", 3)+"\r\n", size/68+1)[:size]
	for n := range mails {
		id := fmt.Sprintf("%08x-0000-7000-8000-%012x", sender, n)
		body := "Message-ID: <" + id + "@bench.example.com>\r\nSubject: Bench\r\n\r\n" + text + "\r\n"
		err := client.SendMail("a@bench.example.com", []string{"b@load.example.com"}, strings.NewReader(body))
		if err != nil {
			return err
		}
	}
	return nil
}

func cpuSeconds(pid int) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond
}
