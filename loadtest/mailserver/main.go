// Command mailserver takes mail by SMTP, keeps an account of every delivery, and answers by HTTP what it saw.
//
// It delivers to nobody. Load tests and local stacks send to it and read back, id by id, what arrived.
// `mailserver -health` asks the running server whether it is well and ends with 0 or 1: the image has no shell.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const shutdownGrace = 5 * time.Second

type settings struct {
	smtpAddr, httpAddr, domain string
}

func main() {
	health := flag.Bool("health", false, "ask the server at HTTP_ADDR whether it is well, and exit")
	flag.Parse()
	s := settings{env("SMTP_ADDR", ":2525"), env("HTTP_ADDR", ":8025"), env("MAIL_DOMAIN", "mail-service")}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	run := serve
	if *health {
		run = probe
	}
	if err := run(s, log); err != nil {
		log.Error("mail server ended", "error", err.Error())
		os.Exit(1)
	}
}

func env(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

// serve runs both servers until SIGTERM or SIGINT, or until one of them fails.
func serve(s settings, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	book := newLedger()
	mail, err := newSMTPServer(book, s.domain, log)
	if err != nil {
		return err
	}
	smtpListener, err := net.Listen("tcp", s.smtpAddr)
	if err != nil {
		return fmt.Errorf("SMTP_ADDR: %w", err)
	}
	httpListener, err := net.Listen("tcp", s.httpAddr)
	if err != nil {
		return fmt.Errorf("HTTP_ADDR: %w", err)
	}
	web := &http.Server{Handler: newWeb(book), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 2)
	go func() { failed <- mail.Serve(countingListener{smtpListener, book}) }()
	go func() { failed <- web.Serve(httpListener) }()
	log.Info("taking mail", "smtp", smtpListener.Addr().String(), "http", httpListener.Addr().String())
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if mail.Shutdown(ending) != nil { // pooled clients keep their connections open: cut them
		_ = mail.Close()
	}
	return errors.Join(err, web.Shutdown(ending))
}

// probe is the health check of an image that has neither shell nor curl.
func probe(s settings, _ *slog.Logger) error {
	_, port, err := net.SplitHostPort(s.httpAddr)
	if err != nil {
		return fmt.Errorf("HTTP_ADDR: %w", err)
	}
	client := http.Client{Timeout: 2 * time.Second}
	answer, err := client.Get("http://127.0.0.1:" + port + "/healthz")
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s", answer.Status)
	}
	return nil
}
