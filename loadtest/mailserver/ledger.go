package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"strings"
	"sync"
	"time"
)

const (
	keptMessages  = 100
	keptBytes     = 64 << 20 // a hundred huge mails must not fill the pod's memory
	chunkBytes    = 1 << 20
	rfc3339Micros = "2006-01-02T15:04:05.000000Z"
)

// arrival is one accepted mail; raw is only valid during add.
type arrival struct {
	messageID, subject, sender string
	client                     string // IP address, as far as the network shows it
	recipients                 []string
	raw                        []byte
	at                         time.Time
}

// delivery is one line of the ledger as clients read it.
type delivery struct {
	Seq        int64    `json:"seq"`
	MessageID  string   `json:"message_id"`
	TaskID     string   `json:"task_id"`
	SHA256     string   `json:"sha256"`
	At         string   `json:"at"`
	Recipients []string `json:"recipients"`
	Client     string   `json:"client"`
}

// message is a mail kept whole, and what is told about it.
type message struct {
	delivery
	Subject string `json:"subject"`
	Sender  string `json:"sender"`
	Bytes   int    `json:"bytes"`
	raw     []byte
}

// stats counts since the start or the last emptying. Ledger names this run of the server: another name means that
// it started again and forgot what it had seen.
type stats struct {
	Received    int64  `json:"received"`
	Unique      int64  `json:"unique"`
	Duplicates  int64  `json:"duplicates"`
	Connections int64  `json:"connections"`
	Bytes       int64  `json:"bytes"`
	Ledger      string `json:"ledger"`
}

// ledger keeps every delivery in about 130 bytes: records lie one after the other in large chunks without pointers,
// which the garbage collector need not follow, so that a million of them cost no pauses.
type ledger struct {
	mu       sync.Mutex
	seed     maphash.Seed
	chunks   [][]byte
	places   []uint64 // chunk << 32 | offset, by sequence number less first
	first    int64    // sequence number of places[0]
	seen     map[uint64]struct{}
	kept     []message
	keptSize int
	totals   stats
}

func newLedger() *ledger {
	return &ledger{
		seed: maphash.MakeSeed(), first: 1, seen: map[uint64]struct{}{}, totals: stats{Ledger: rand.Text()},
	}
}

func (l *ledger) connected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.totals.Connections++
}

// add enters a mail and returns its sequence number. Mails of one Message-ID are duplicates of each other; those
// without are told apart by their bytes.
func (l *ledger) add(a arrival) int64 {
	digest := sha256.Sum256(a.raw)
	record := encode(a, digest)
	key := a.messageID
	if key == "" {
		key = string(digest[:])
	}
	hash := maphash.String(l.seed, key) // of a million ids, two share 64 bits once in 37 million runs
	kept := message{
		Subject: a.subject, Sender: a.sender, Bytes: len(a.raw), raw: append([]byte(nil), a.raw...),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	seq := l.first + int64(len(l.places))
	l.write(record)
	l.totals.Received++
	l.totals.Bytes += int64(len(a.raw))
	if _, again := l.seen[hash]; again {
		l.totals.Duplicates++
	} else {
		l.seen[hash] = struct{}{}
		l.totals.Unique++
	}
	kept.delivery = decode(seq, record)
	l.keep(kept)
	return seq
}

func (l *ledger) write(record []byte) {
	last := len(l.chunks) - 1
	if last < 0 || len(l.chunks[last])+len(record) > cap(l.chunks[last]) {
		l.chunks = append(l.chunks, make([]byte, 0, max(chunkBytes, len(record))))
		last++
	}
	l.places = append(l.places, uint64(last)<<32|uint64(len(l.chunks[last])))
	l.chunks[last] = append(l.chunks[last], record...)
}

func (l *ledger) keep(m message) {
	l.kept = append(l.kept, m)
	l.keptSize += m.Bytes
	for len(l.kept) > keptMessages || (l.keptSize > keptBytes && len(l.kept) > 1) {
		l.keptSize -= l.kept[0].Bytes
		l.kept[0] = message{}
		l.kept = l.kept[1:]
	}
}

func (l *ledger) stats() stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals
}

// after lists at most limit deliveries whose sequence number is above after, oldest first.
func (l *ledger) after(after int64, limit int) []delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := []delivery{}
	for index := max(0, after-l.first+1); index < int64(len(l.places)) && len(found) < limit; index++ {
		place := l.places[index]
		found = append(found, decode(l.first+index, l.chunks[place>>32][uint32(place):]))
	}
	return found
}

// last lists the mails still kept whole, oldest first.
func (l *ledger) last() []message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]message{}, l.kept...)
}

// raw gives a kept mail's bytes.
func (l *ledger) raw(seq int64) ([]byte, bool) {
	for _, m := range l.last() {
		if m.Seq == seq {
			return m.raw, true
		}
	}
	return nil, false
}

// empty forgets everything but the sequence: a reader that follows by number misses nothing that comes after.
func (l *ledger) empty() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first += int64(len(l.places))
	l.chunks, l.places, l.kept, l.keptSize = nil, nil, nil, 0
	l.seen = map[uint64]struct{}{}
	l.totals = stats{Ledger: l.totals.Ledger}
}

// encode lays out: digest, microseconds since 1970, length and bytes of the Message-ID, then of the recipients and
// of the client.
func encode(a arrival, digest [sha256.Size]byte) []byte {
	record := append(make([]byte, 0, 160), digest[:]...)
	record = binary.BigEndian.AppendUint64(record, uint64(a.at.UnixMicro()))
	for _, text := range []string{a.messageID, strings.Join(a.recipients, "\n"), a.client} {
		record = binary.AppendUvarint(record, uint64(len(text)))
		record = append(record, text...)
	}
	return record
}

func decode(seq int64, record []byte) delivery {
	digest, rest := record[:sha256.Size], record[sha256.Size:]
	micros := int64(binary.BigEndian.Uint64(rest))
	rest = rest[8:]
	messageID, rest := text(rest)
	recipients, rest := text(rest)
	client, _ := text(rest)
	taskID, _, _ := strings.Cut(messageID, "@")
	return delivery{
		Seq: seq, MessageID: messageID, TaskID: taskID, SHA256: hex.EncodeToString(digest),
		At: time.UnixMicro(micros).UTC().Format(rfc3339Micros), Recipients: strings.Split(recipients, "\n"),
		Client: client,
	}
}

func text(record []byte) (string, []byte) {
	length, n := binary.Uvarint(record)
	end := n + int(length)
	return string(record[n:end]), record[end:]
}
