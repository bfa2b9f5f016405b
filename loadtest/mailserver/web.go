package main

import (
	"encoding/json"
	"net/http"
	"strconv"
)

const (
	defaultPage = 1000
	maxPage     = 10_000
)

type page struct {
	Deliveries []delivery `json:"deliveries"`
	Next       int64      `json:"next"`
}

// newWeb answers what arrived: counts, ids, and the last hundred mails whole.
func newWeb(book *ledger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, "ok") })
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, book.stats()) })
	mux.HandleFunc("GET /deliveries", func(w http.ResponseWriter, r *http.Request) { listDeliveries(book, w, r) })
	mux.HandleFunc("DELETE /deliveries", func(w http.ResponseWriter, _ *http.Request) {
		book.empty()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /messages", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"messages": book.last()})
	})
	mux.HandleFunc("GET /messages/{seq}", func(w http.ResponseWriter, r *http.Request) { showMessage(book, w, r) })
	return mux
}

func listDeliveries(book *ledger, w http.ResponseWriter, r *http.Request) {
	after, okAfter := number(r.URL.Query().Get("after"), 0)
	limit, okLimit := number(r.URL.Query().Get("limit"), defaultPage)
	if !okAfter || !okLimit || limit == 0 {
		http.Error(w, "after and limit are whole numbers; limit is at least 1", http.StatusBadRequest)
		return
	}
	found := book.after(after, int(min(limit, maxPage)))
	next := after
	if len(found) > 0 {
		next = found[len(found)-1].Seq
	}
	answer(w, page{found, next})
}

func showMessage(book *ledger, w http.ResponseWriter, r *http.Request) {
	seq, ok := number(r.PathValue("seq"), 0)
	raw, found := book.raw(seq)
	if !ok || !found {
		http.Error(w, "not among the last hundred mails", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "message/rfc822")
	_, _ = w.Write(raw)
}

func number(text string, fallback int64) (int64, bool) {
	if text == "" {
		return fallback, true
	}
	value, err := strconv.ParseInt(text, 10, 64)
	return value, err == nil && value >= 0
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // the client went away: nobody is left to tell
}
