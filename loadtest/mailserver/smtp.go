package main

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	maxMessageBytes = 25 << 20
	maxRecipients   = 100
	// RFC 5321, 4.5.3.2.7: a server waits at least five minutes for a command; pooled clients rely on it.
	idleTimeout = 5 * time.Minute
	// A buffer that once held a huge mail is not kept for small ones.
	maxPooledBytes = 1 << 20
)

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// newSMTPServer takes mail from anyone for anyone; STARTTLS with a certificate made now, and plain text as well.
func newSMTPServer(book *ledger, domain string, log *slog.Logger) (*smtp.Server, error) {
	tlsConfig, err := selfSigned(domain)
	if err != nil {
		return nil, err
	}
	server := smtp.NewServer(smtp.BackendFunc(func(connection *smtp.Conn) (smtp.Session, error) {
		host, _, err := net.SplitHostPort(connection.Conn().RemoteAddr().String())
		if err != nil {
			return nil, err
		}
		return &session{book: book, client: host}, nil
	}))
	server.Domain = domain
	server.TLSConfig = tlsConfig
	server.MaxMessageBytes = maxMessageBytes
	server.MaxRecipients = maxRecipients
	server.ReadTimeout = idleTimeout
	server.WriteTimeout = time.Minute
	server.EnableSMTPUTF8 = true
	server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	return server, nil
}

// session is one client's connection: sender and recipients of the mail being taken.
type session struct {
	book       *ledger
	client     string
	sender     string
	recipients []string
}

func (s *session) Reset() {
	s.sender, s.recipients = "", nil
}

func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.sender = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.recipients = append(s.recipients, to)
	return nil
}

// Data answers 250 only once the mail is in the ledger.
func (s *session) Data(r io.Reader) error {
	buffer := buffers.Get().(*bytes.Buffer)
	buffer.Reset()
	defer func() {
		if buffer.Cap() <= maxPooledBytes {
			buffers.Put(buffer)
		}
	}()
	if _, err := buffer.ReadFrom(r); err != nil {
		return err
	}
	headers, err := mail.ReadMessage(bytes.NewReader(buffer.Bytes()))
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "Not an RFC 5322 message"}
	}
	id := strings.Trim(strings.TrimSpace(headers.Header.Get("Message-Id")), "<>")
	s.book.add(arrival{
		messageID: id, subject: headers.Header.Get("Subject"), sender: s.sender, client: s.client,
		recipients: s.recipients, raw: buffer.Bytes(), at: time.Now(),
	})
	return nil
}

// countingListener counts connections, to tell clients that pool from clients that do not.
type countingListener struct {
	net.Listener
	book *ledger
}

func (l countingListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err == nil {
		l.book.connected()
	}
	return connection, err
}
