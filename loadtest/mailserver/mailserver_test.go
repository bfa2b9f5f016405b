package main

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

type running struct{ smtp, http string }

func start(t *testing.T) running {
	t.Helper()
	book := newLedger()
	mail, err := newSMTPServer(book, "mail-service", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = mail.Serve(countingListener{listener, book}) }()
	web := httptest.NewServer(newWeb(book))
	t.Cleanup(web.Close)
	t.Cleanup(func() { _ = mail.Close() })
	return running{listener.Addr().String(), web.URL}
}

func connect(t *testing.T, address string) *smtp.Client {
	t.Helper()
	client, err := smtp.DialStartTLS(address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func deliver(t *testing.T, client *smtp.Client, body string, to ...string) {
	t.Helper()
	if err := client.SendMail("a@example.com", to, strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
}

func body(id, text string) string {
	return "Message-ID: <" + id + "@example.com>\r\nSubject: Hello\r\n\r\n" + text + "\r\n"
}

func get[T any](t *testing.T, url string) T {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var read T
	if err := json.NewDecoder(answer.Body).Decode(&read); err != nil {
		t.Fatalf("%s: %s: %v", url, answer.Status, err)
	}
	return read
}

func TestADeliveryIsInTheLedgerOnceItIsAccepted(t *testing.T) {
	server := start(t)
	raw := body("task-1", "first")
	deliver(t, connect(t, server.smtp), raw, "x@load.example.com", "y@load.example.com")
	list := get[page](t, server.http+"/deliveries")
	if len(list.Deliveries) != 1 || list.Next != 1 {
		t.Fatalf("%+v", list)
	}
	got, digest := list.Deliveries[0], sha256.Sum256([]byte(raw))
	if got.TaskID != "task-1" || got.MessageID != "task-1@example.com" || got.SHA256 != hex.EncodeToString(digest[:]) {
		t.Errorf("%+v", got)
	}
	if got.Client != "127.0.0.1" {
		t.Errorf("%q", got.Client)
	}
	if len(got.Recipients) != 2 || got.Recipients[1] != "y@load.example.com" {
		t.Errorf("%+v", got.Recipients)
	}
	if at, err := time.Parse(rfc3339Micros, got.At); err != nil || time.Since(at) > time.Minute {
		t.Errorf("%s: %v", got.At, err)
	}
}

func TestASecondDeliveryOfAMessageCountsAsADuplicate(t *testing.T) {
	server := start(t)
	client := connect(t, server.smtp)
	for _, id := range []string{"a", "b", "a"} {
		deliver(t, client, body(id, "x"), "x@load.example.com")
	}
	got := get[stats](t, server.http+"/stats")
	if got.Received != 3 || got.Unique != 2 || got.Duplicates != 1 || got.Connections != 1 || got.Ledger == "" {
		t.Errorf("%+v", got)
	}
}

func TestMailIsTakenWithoutTLSToo(t *testing.T) {
	server := start(t)
	client, err := smtp.Dial(server.smtp)
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, client, body("plain", "x"), "x@load.example.com")
	if got := get[stats](t, server.http+"/stats"); got.Received != 1 {
		t.Errorf("%+v", got)
	}
}

func TestTheExtensionsThatClientsCountOnAreOffered(t *testing.T) {
	client := connect(t, start(t).smtp)
	for _, extension := range []string{"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8"} {
		if ok, _ := client.Extension(extension); !ok {
			t.Error(extension)
		}
	}
}

func TestWhatIsNotAMailIsRefusedForGood(t *testing.T) {
	client := connect(t, start(t).smtp)
	err := client.SendMail("a@example.com", []string{"b@example.com"}, strings.NewReader("no header here\r\n"))
	if refused, ok := err.(*smtp.SMTPError); !ok || refused.Code != 554 {
		t.Errorf("%v", err)
	}
}

func TestOnlyTheLastHundredAreKeptWhole(t *testing.T) {
	server := start(t)
	client := connect(t, server.smtp)
	for n := range keptMessages + 5 {
		deliver(t, client, body(fmt.Sprint("m", n), fmt.Sprint("text ", n)), "x@load.example.com")
	}
	kept := get[map[string][]message](t, server.http+"/messages")["messages"]
	if len(kept) != keptMessages || kept[0].Seq != 6 || kept[0].Subject != "Hello" {
		t.Fatalf("%d kept, first %+v", len(kept), kept[0])
	}
	answer, err := http.Get(server.http + "/messages/105")
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := io.ReadAll(answer.Body)
	if string(raw) != body("m104", "text 104") {
		t.Errorf("%q", raw)
	}
	if answer, _ := http.Get(server.http + "/messages/5"); answer.StatusCode != http.StatusNotFound {
		t.Error(answer.Status)
	}
}

func TestAReaderThatFollowsByNumberMissesNothingWhenTheLedgerIsEmptied(t *testing.T) {
	server := start(t)
	client := connect(t, server.smtp)
	deliver(t, client, body("before", "x"), "x@load.example.com")
	next := get[page](t, server.http+"/deliveries").Next
	request, _ := http.NewRequest(http.MethodDelete, server.http+"/deliveries", nil)
	if answer, err := http.DefaultClient.Do(request); err != nil || answer.StatusCode != http.StatusNoContent {
		t.Fatal(answer, err)
	}
	deliver(t, client, body("after", "x"), "x@load.example.com")
	list := get[page](t, fmt.Sprint(server.http, "/deliveries?after=", next))
	if len(list.Deliveries) != 1 || list.Deliveries[0].TaskID != "after" {
		t.Errorf("%+v", list)
	}
}

func TestPagesAreOfTheSizeAskedForAndContinue(t *testing.T) {
	book := newLedger()
	for n := range 25 {
		book.add(arrival{messageID: fmt.Sprint(n, "@x"), recipients: []string{"r"}, raw: []byte("x"), at: time.Now()})
	}
	web := httptest.NewServer(newWeb(book))
	defer web.Close()
	seen, next := 0, int64(0)
	for {
		list := get[page](t, fmt.Sprint(web.URL, "/deliveries?limit=10&after=", next))
		if len(list.Deliveries) == 0 {
			break
		}
		seen, next = seen+len(list.Deliveries), list.Next
	}
	if seen != 25 {
		t.Error(seen)
	}
	for _, query := range []string{"after=x", "limit=0", "limit=-1"} {
		if answer, _ := http.Get(web.URL + "/deliveries?" + query); answer.StatusCode != http.StatusBadRequest {
			t.Error(query, answer.Status)
		}
	}
	if list := get[page](t, web.URL+"/deliveries?after=9223372036854775807"); len(list.Deliveries) != 0 {
		t.Error(list)
	}
}

func TestAMillionDeliveriesFitInASmallPod(t *testing.T) {
	book := newLedger()
	for n := range 1_000_000 {
		book.add(arrival{
			messageID:  fmt.Sprintf("0192f3a1-7c3e-7000-8000-%012x@load.example.com", n),
			recipients: []string{"someone.with.a.name@load.example.com"}, client: "10.244.100.100", raw: []byte("x"), at: time.Now(),
		})
	}
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	if got := book.stats(); got.Unique != 1_000_000 || got.Duplicates != 0 {
		t.Errorf("%+v", got)
	}
	if memory.HeapAlloc > 256<<20 {
		t.Errorf("%d MiB", memory.HeapAlloc>>20)
	}
	t.Logf("%d MiB for a million deliveries", memory.HeapAlloc>>20)
	if last := book.after(999_999, 10); len(last) != 1 || !strings.HasSuffix(last[0].TaskID, "0000000f423f") {
		t.Errorf("%+v", last)
	}
}
